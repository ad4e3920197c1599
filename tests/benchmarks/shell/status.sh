#!/bin/bash
# What one writes without this package: status.
kill -0 "$(cat "$PIDFILE" 2>/dev/null)" 2>/dev/null && echo running
lsof -nP -i ":$PORT" -s TCP:LISTEN
curl -s -o /dev/null -w '%{http_code}\n' --connect-timeout 2 "http://localhost:$PORT"
[ -f "$LOG" ] && wc -c <"$LOG" && tail -n 1 "$LOG"
exit 0
