import { CROWDED } from "../process/index.ts";
import { POINTS, RAN_MAX_MS, RAN_MIN_MS } from "../scram/index.ts";

const { stuck, slowDisk, starved, running, wedged } = POINTS;
const RAN_MAX_US = RAN_MAX_MS * 1000;
/** What a wake-up counts by how long the silent one ran. */
const RAN = `((ran < ${RAN_MIN_MS * 1000})) || add=$((${starved} + ran * ${running} / ${RAN_MAX_US}))`;

/**
 * The dead-man, for bash: `KILL_FILE PID START_TIME FOLDER CROWD (FILE WEIGHT)…`. The three after the
 * first are of the sentinel. More runnable processes than `CROWD` leave a process waiting for a
 * processor. Into each `FILE` its `WEIGHT` is written before paths are killed, so that they have the
 * time on a processor that it takes to die.
 *
 * It reads lines: `b` (alive; it echoes that), `e PID START_TIME` (the engine), `p PATH PID START_TIME…`
 * (a path's first processes), `x PATH` (that path ended), `g 1` and `g 0` (a stop begins, is over).
 *
 * At the end of file the sentinel is dead, and all that it owned is killed. The same happens where
 * the sentinel lives and says nothing. Silence is counted at the dead-man's own wake-ups, one every
 * 50 ms, so that one who was not scheduled himself blames nobody; 2000 points are a wedge:
 *
 * - stopped, or asleep in one call: 400 a wake-up (250 ms);
 * - in uninterruptible sleep, as in an fsync: 200 (500 ms); 50 in a crowd, where whoever holds the
 *   kernel's lock waits for a processor (not in a crowd of the paths themselves, where the kernel
 *   tells how long they ran);
 * - waiting for a processor: 50 (2 s);
 * - running and silent: 50, and up to 350 more by how much it ran (250 ms where it has a processor).
 *
 * While a stop is carried out, what a busy sentinel does (kill, sweep, fsync) counts an eighth.
 *
 * Where paths lived under a sentinel that is wedged, it leaves a call, so that the next one trips. The
 * same holds for one that was silent for two of its wake-ups when it died.
 */
export const DEAD_MAN_SCRIPT = `trap '' PIPE HUP INT TERM
kill_file=$1 sentinel=$2 born=$3 folder=$4 crowd=$5
shift 5
weights=("$@")
cd "$folder" || exit 1
# Where the kernel shares the processors between sessions, ours comes as early as its first process.
read -r _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ nice _ </proc/$$/stat
[ "$nice" -ge 0 ] || echo "$nice" >/proc/$$/autogroup
exec {pause}<> <(:)
declare -A firsts
engine= stopping=0 points=0 before= ours_used= ours_at=

# PID START_TIME: true while exactly this process runs.
alive() {
  local stat
  { IFS= read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  set -- "$2" \${stat##*) }
  [[ \${21} = "$1" && $2 != [ZX] ]]
}
kill_known() {
  while [ $# -ge 2 ]; do
    if alive "$1" "$2"; then kill -9 "$1"; left=1; fi
    shift 2
  done
}
kill_all() {
  local id at
  left=0
  [ -z "$kill_file" ] || echo 1 >"$kill_file"
  kill_known $engine
  for id in "\${!firsts[@]}"; do kill_known \${firsts[$id]}; done
  for ((at = 0; at < \${#weights[@]}; at += 2)); do
    [ ! -e "\${weights[at]}" ] || echo "\${weights[at + 1]}" >"\${weights[at]}"
  done
} 2>/dev/null
# Whether the kernel says that somebody lives in the group; false where there is none.
populated() {
  local line
  [ -n "$kill_file" ] || return 1
  while read -r line; do [ "$line" != 'populated 1' ] || return 0; done <"\${kill_file%kill}events"
  return 1
} 2>/dev/null
until_dead() {
  local round
  for ((round = 0; round < 300; round++)); do
    kill_all
    [ "$left" = 1 ] || populated || return 0
    read -r -t 0.01 -u "$pause"
  done
}
# What becomes of the switch is for the next sentinel to carry out and to record. Where there is no
# room for so much as a name, the proof goes without which the next one has everything stopped.
report() {
  local name=call.$RANDOM$RANDOM$$
  set -C
  umask 077
  printf '{"command":"SCRAM_ACTIVATE","timestamp":"","pid":%d,"reason":"system_critical","why":"%s"}\\n' \\
    "$$" "the sentinel did not answer while \${#firsts[@]} paths lived; the dead-man killed them" \\
    >"$name"
  : >"$name.ready" || rm -f SETTLED
} 2>/dev/null
# INVARIANT: a call stands before the sentinel dies, whose lock keeps the next one out. A process of
# its own writes it, because a disk that does not answer must not keep the sentinel alive.
wedged() {
  local round writer=
  kill_all
  if [ "\${#firsts[@]}" != 0 ]; then
    report &
    writer=$!
  fi
  for ((round = 0; round < 100; round++)); do
    [ -n "$writer" ] && kill -0 "$writer" 2>/dev/null || break
    read -r -t 0.01 -u "$pause"
  done
  if alive "$sentinel" "$born"; then kill -9 "$sentinel"; fi
  until_dead
  exit
}
# Whether the paths had half of the processors' time since the last wake-up without a word: then the
# crowd is theirs, and no path makes its own death come later. True as well at the first one.
ours() {
  local key used up
  [ -n "$kill_file" ] || return 1
  { read -r key used <"\${kill_file%cgroup.kill}cpu.stat"; } 2>/dev/null || return 1
  read -r up _ </proc/uptime
  [ "$key" = usage_usec ] || return 1
  up=$((10#\${up/./} * 10000))
  set -- "$ours_used" "$ours_at"
  ours_used=$used ours_at=$up
  [ -n "$2" ] || return 0
  # The crowd is ${CROWDED} for each processor.
  ((${2 * CROWDED} * (used - $1) >= (up - $2) * crowd))
}
# One wake-up without a word.
count() {
  local stat state run ran add
  { IFS= read -r stat <"/proc/$sentinel/stat"; } 2>/dev/null || return
  stat=\${stat##*) }
  state=\${stat%% *}
  run=
  { read -r run _ <"/proc/$sentinel/schedstat"; } 2>/dev/null
  ran=0
  [ -z "$before" ] || ran=$(((\${run:-0} - before) / 1000))
  before=\${run:-0}
  ((ran <= ${RAN_MAX_US})) || ran=${RAN_MAX_US}
  case $state in
    D) add=${slowDisk} run=; { read -r _ _ _ run _ </proc/loadavg; } 2>/dev/null
      [ "\${run%%/*}" -gt "$crowd" ] 2>/dev/null && ! ours && add=${starved} ;;
    R) add=${starved}; ${RAN} ;;
    S) add=${stuck}; ${RAN} ;;
    *) add=${stuck} ;;
  esac
  case $state$stopping in [RD]1) add=$((add / 8)) ;; esac
  points=$((points + add))
  ((points < ${wedged})) || wedged
}
while :; do
  if IFS=' ' read -r -t 0.05 word id rest; then
    case $word in
      b) points=0 before= ours_at=; echo b 2>/dev/null ;;
      e) engine="$id $rest" ;;
      p) firsts[$id]=$rest ;;
      x) unset "firsts[$id]" ;;
      g) stopping=$id ;;
    esac
  elif (($? > 128)); then
    count
  else
    # One that was silent before it died was wedged: its paths may have died of that.
    ((points < ${2 * stuck})) || wedged
    until_dead
    exit
  fi
done`;
