#!/bin/bash
# What one writes without this package: ensure. PIDFILE, LOG and the command come from outside.
if [ -f "$PIDFILE" ] && kill -0 "$(cat "$PIDFILE")" 2>/dev/null; then
  lsof -nP -i ":$PORT" -s TCP:LISTEN >/dev/null 2>&1 && echo "already running" && exit 0
fi
rm -f "$PIDFILE"
nohup "$@" >>"$LOG" 2>&1 </dev/null &
echo $! >"$PIDFILE"
disown
sleep 2
kill -0 "$(cat "$PIDFILE")" 2>/dev/null && echo started
