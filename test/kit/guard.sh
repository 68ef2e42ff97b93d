#!/bin/sh
# Outlives the process that started it by a moment: when its stdin closes (that process ended, also by kill -9), it ends
# every process group that is still registered and removes every folder that is still registered.
# Lines on stdin: "pid+ PID SIGNAL", "pid- PID", "dir+ FOLDER", "dir- FOLDER", "box+ CONTAINER", "box- CONTAINER".
trap '' HUP INT QUIT TERM
newline='
'
pids=
dirs=
boxes=

# without LIST ITEM: the list (one item a line) without that item
without() {
  printf '%s' "$1" | while IFS= read -r item; do
    [ "${item%% SIG*}" = "$2" ] || printf '%s\n' "$item"
  done
}

while read -r verb what; do
  case $verb in
    pid+) pids="$pids$what$newline" ;;
    pid-) pids="$(without "$pids" "$what")$newline" ;;
    dir+) dirs="$dirs$what$newline" ;;
    dir-) dirs="$(without "$dirs" "$what")$newline" ;;
    box+) boxes="$boxes$what$newline" ;;
    box-) boxes="$(without "$boxes" "$what")$newline" ;;
  esac
done

# signal_all [SIGNAL]: each group gets SIGNAL, or the one it was registered with
signal_all() {
  printf '%s' "$pids" | while read -r pid registered; do
    [ -n "$pid" ] || continue
    signal=${1:-${registered#SIG}}
    kill -s "$signal" -- "-$pid" 2>/dev/null
    kill -s CONT -- "-$pid" 2>/dev/null
  done
}

any_left() {
  printf '%s' "$pids" | {
    while read -r pid _; do
      [ -n "$pid" ] && kill -0 -- "-$pid" 2>/dev/null && exit 0
    done
    exit 1
  }
}

signal_all
tries=0
while any_left && [ "$tries" -lt 30 ]; do
  sleep 0.1
  tries=$((tries + 1))
done
signal_all KILL
printf '%s' "$boxes" | while IFS= read -r box; do
  [ -n "$box" ] && docker rm --force --volumes "$box" >/dev/null 2>&1
done
printf '%s' "$dirs" | while IFS= read -r dir; do
  [ -n "$dir" ] && rm -rf -- "$dir"
done
exit 0
