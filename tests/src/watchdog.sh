# Waits until its standard input closes, as it does when the test process ends, however it ends. Then ends every process
# whose working folder lies below $1, and removes that folder.
trap '' INT TERM HUP
cat >/dev/null

working() { find /proc/[0-9]*/cwd -maxdepth 0 -lname "$1/*" 2>/dev/null | cut -d/ -f3; }
signal() {
  # shellcheck disable=SC2046 # one word per process
  set -- "$1" $(working "$2")
  [ $# = 1 ] || kill -s "$@" 2>/dev/null
}

signal INT "$1" # PostgreSQL waits for its clients after TERM
signal TERM "$1" # a shell's background jobs, such as Kafka, are deaf to INT
signal CONT "$1" # a stopped process hears neither
looks=150 # 15 s: PostgreSQL and Kafka stop in good order in 2 s
while [ -n "$(working "$1")" ] && [ $((looks -= 1)) -gt 0 ]; do sleep 0.1; done
signal KILL "$1"
for volume in $(cut -d' ' -f2 /proc/mounts | grep "^$1/"); do umount --lazy "$volume"; done
rm -rf "$1"
