#!/bin/bash
# What one writes without this package: stop.
pids="$(cat "$PIDFILE" 2>/dev/null) $(lsof -nP -t -i ":$PORT" -s TCP:LISTEN 2>/dev/null)"
for pid in $pids; do kill -TERM "$pid" 2>/dev/null; done
for _ in $(seq 50); do
  left=
  for pid in $pids; do kill -0 "$pid" 2>/dev/null && left=$pid; done
  [ -z "$left" ] && break
  sleep 0.1
done
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
rm -f "$PIDFILE"
sleep 0.5
lsof -nP -i ":$PORT" -s TCP:LISTEN >/dev/null 2>&1 || echo free
