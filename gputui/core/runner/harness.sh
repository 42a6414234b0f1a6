#!/bin/sh
# Runs one workload on this machine and survives everything that may happen meanwhile: a lost connection, a dead watcher, a
# killed supervisor, a restarted Docker daemon, a reboot. All state is in files of one job folder; every verb may be repeated.
#
#   harness.sh start DIR                       accept the job and start its supervisor, detached
#   harness.sh poll DIR OFFSET LIMIT LEASE_S   renew the lease (0: leave it), print one header line and up to LIMIT log bytes
#   harness.sh stop DIR                        end the workload: TERM, grace, KILL
#
# Given beforehand in DIR: spec (KEY=value lines, never evaluated), command, env (NAME=value lines), ends (how the provider
# is asked to delete this machine, "METHOD URL BODY" lines).
# Kept in DIR by this script:
#   accepted, started    epoch of the start verb, of the workload's own start
#   lease, deadline      when to stop it, see put_due
#   collect              when nobody has come for the log of what a limit ended
#   guard                "armed" when this machine can delete itself, else why not
#   gpu                  the newest figures of the GPUs, see sample_gpu
#   cancel, reason       that it is to stop; why it was stopped
#   hung                 when a workload that was to stop and did not is given up
#   result               "STATE EXIT REASON EPOCH" once all is over
#   log, prefix          what it printed; in Docker mode the first `prefix` bytes are not the container's. Docker keeps text: a
#                        byte that is not UTF-8 comes as U+FFFD, as may a character that an endless line is cut in
#   *.pid                "PID STARTTIME BOOT" of our processes, so that a reused number is never taken for one of them
# Needs coreutils, flock and setsid (util-linux), /proc, and docker where an image is asked for.
# shellcheck disable=SC2329  # verbs and log commands are called by name
set -u
umask 077

GPU_EVERY_S=10
COLLECT_S=600
PULL_TRIES=3
SUBMIT_TRIES=2
STOP_TRIES=5
FINAL_LOG_S=900
FINAL_LOG_RETRY_S=120
DRAIN_S=5
HUNG_S=300
LOST_AFTER_TICKS=3
MOUNT_WAIT_S=120

read -r boot </proc/sys/kernel/random/boot_id
self=$$

# ---- small things ---------------------------------------------------------------------------------------------------

now() { date +%s; }

# put NAME TEXT: replace a small file in one step. On a full disk the reserve makes room.
put() {
    if ! printf '%s\n' "$2" 2>/dev/null >".$1.$self"; then
        rm -f reserve
        printf '%s\n' "$2" >".$1.$self" || return 1
    fi
    mv -f ".$1.$self" "$1"
}

# get NAME: a small file's line, nothing when it is not there.
get() { [ -e "$1" ] && cat "$1"; }

# spec KEY: one of the job's orders.
spec() {
    while IFS= read -r spec_line; do
        case $spec_line in "$1="*) printf '%s' "${spec_line#*=}" && return ;; esac
    done <spec
}

# put_due NAME SECONDS: a moment in the future, by uptime for this boot and by wall clock after a reboot. Written in place
# and always as long, so that a full disk cannot keep a lease from being renewed.
put_due() {
    read_uptime
    printf '%-90s\n' "$boot $((uptime + $2)) $(($(now) + $2))" 1<>"$1"
}

# is_due NAME: true when there is such a moment and it is past.
is_due() {
    [ -s "$1" ] && read -r due_boot due_uptime due_epoch <"$1" || return 1
    if [ "$due_boot" = "$boot" ]; then
        read_uptime
        [ "$uptime" -ge "$due_uptime" ]
    else
        [ "$(now)" -ge "$due_epoch" ]
    fi
}

# identify PID: set $identity to "PID STARTTIME BOOT"; fails for a process that is gone or a zombie.
identify() {
    identity=
    [ -n "$1" ] && read -r process_stat 2>/dev/null <"/proc/$1/stat" || return 1
    process_id=$1
    # shellcheck disable=SC2086  # split into fields on purpose
    set -- ${process_stat##*) }
    case $1 in Z | X) return 1 ;; esac
    identity="$process_id ${20} $boot"
}

put_pid() { identify "$2" && put "$1" "$identity"; }

# is_alive FILE: the process recorded there still runs.
is_alive() {
    [ -s "$1" ] && read -r recorded <"$1" && identify "${recorded%% *}" && [ "$identity" = "$recorded" ]
}

pid_of() { read -r recorded_pid _ <"$1" && printf '%s' "$recorded_pid"; }

log_size() { if [ -e log ]; then echo $(($(wc -c <log))); else echo 0; fi; }

# say TEXT: a line of our own in the log; only before a container's log follows.
say() { printf 'gputui: %s\n' "$*" >>log; }

# finish STATE EXIT REASON [EPOCH]: the end of the story.
finish() {
    until put result "$1 $2 ${3:--} ${4:-$(now)}"; do sleep 5; done
}

oom_kills() {
    oom_line=$(grep '^oom_kill ' /proc/vmstat 2>/dev/null) && printf '%s' "${oom_line#* }"
}

# ---- shared with containers that take no orders -----------------------------------------------------------------------

# This section is sent on its own, too: it uses no file of the job folder.

GPU_FRESH_S=60

# Sets $uptime: seconds that pass evenly even when a fresh machine's wall clock is set right.
read_uptime() {
    read -r uptime _ </proc/uptime
    uptime=${uptime%%.*}
}

# is_figure TEXT: a bare number, unlike [N/A], [Not Supported] or ERR!.
is_figure() { case $1 in '' | . | *[!0-9.]* | *.*.*) return 1 ;; esac; }

# measure_gpus: ask nvidia-smi. Sets $gpu to "PERCENT,USED_MIB,TOTAL_MIB,WATTS" of the busiest GPU, "-" for what a driver does
# not tell; $gpu_use to the use of the busiest in whole percent, or "missing" without nvidia-smi, "failed" without an answer,
# "unknown" where no GPU tells; and $gpu_mute to how many GPUs do not tell.
measure_gpus() {
    gpu=- gpu_use=missing gpu_mute=0
    command -v nvidia-smi >/dev/null || return 0
    gpu_use=failed
    gpu_query=utilization.gpu,memory.used,memory.total,power.draw
    gpu_table=$(LC_ALL=C timeout -k 2 5 nvidia-smi --query-gpu=$gpu_query --format=csv,noheader,nounits 2>/dev/null) || return 0
    while IFS=, read -r use used total watts _; do
        [ -n "$watts" ] || continue # a warning, "No devices were found"
        is_figure "$used" || used=-
        is_figure "$total" || total=-
        is_figure "$watts" || watts=-
        if ! is_figure "$use"; then
            gpu_mute=$((gpu_mute + 1))
            [ "$gpu" != - ] || gpu=-,$used,$total,$watts
        elif is_figure "$gpu_use" && [ "$gpu_use" -ge "${use%%.*}" ]; then
            continue
        else
            gpu_use=${use%%.*} gpu=$use,$used,$total,$watts
        fi
    done <<TABLE
$(printf '%s\n' "$gpu_table" | tr -d ' \t\r')
TABLE
    if [ $gpu_mute -gt 0 ] && ! is_figure "$gpu_use"; then gpu_use=unknown; fi
}

# follow_idle: take in what was just measured. Sets $idle_since to the uptime since when every GPU is used less than
# $idle_percent, "-" where one is used more or nobody knows; $idle to the seconds since then, or why nobody knows; and $sampled.
follow_idle() {
    read_uptime
    if ! is_figure "$gpu_use"; then
        idle=$gpu_use idle_since=-
    elif [ "$gpu_use" -ge "$idle_percent" ]; then
        idle=0 idle_since=-
    elif [ "$gpu_mute" -gt 0 ]; then
        idle=unknown idle_since=-
    else
        if [ "$idle_since" = - ] || [ $((uptime - sampled)) -gt $GPU_FRESH_S ]; then idle_since=$uptime; fi
        idle=$((uptime - idle_since))
    fi
    sampled=$uptime
}

# own_value NAME: a variable of ours or of the container's first process, which a login over SSH does not inherit.
own_value() {
    printenv "$1" && return
    tr '\0' '\n' </proc/1/environ | while IFS= read -r variable; do
        case $variable in "$1="*) printf '%s\n' "${variable#*=}" ;; esac
    done
} 2>/dev/null

# arm KEY_NAME ID_NAME: find the key that the provider gave this machine for itself alone, and a program to send it with.
# Sets $guard: armed, no_key or no_downloader.
arm() {
    guard=no_key
    [ -n "$1" ] && [ -n "$2" ] || return 0
    own_key=$(own_value "$1")
    own_id=$(own_value "$2")
    case $own_key in '' | *[!0-9A-Za-z._-]*) return ;; esac
    case $own_id in '' | *[!0-9A-Za-z._-]*) return ;; esac
    guard=no_downloader
    for downloader in curl python3 wget; do
        command -v $downloader >/dev/null || continue
        case $downloader in wget) wget --help 2>&1 | grep -q -e --method || continue ;; esac # not every wget can delete
        guard=armed
        return
    done
}

# send METHOD URL BODY FOLDER: one request with the machine's own key, which is on no command line. The answer does not matter.
send() {
    case $downloader in
    curl)
        printf 'header = "Authorization: Bearer %s"\n' "$own_key" |
            curl -s -m 60 -o /dev/null -X "$1" -H 'Content-Type: application/json' ${3:+--data "$3"} -K - "$2"
        ;;
    python3)
        printf '%s' "$own_key" | python3 -c 'import sys, urllib.request as web
method, url, body = sys.argv[1:]
headers = {"Authorization": "Bearer " + sys.stdin.read(), "Content-Type": "application/json", "User-Agent": "gputui"}
web.urlopen(web.Request(url, body.encode() or None, headers, method=method), timeout=60)' "$1" "$2" "$3"
        ;;
    wget)
        printf 'header = Authorization: Bearer %s\nheader = Content-Type: application/json\n' "$own_key" >"$4/.wgetrc"
        WGETRC=$4/.wgetrc wget -q -O /dev/null -T 60 -t 1 --method="$1" ${3:+--body-data="$3"} "$2"
        rm -f "$4/.wgetrc"
        ;;
    esac >/dev/null 2>&1
}

# end_machine FOLDER ENDS: have the provider delete this machine, again and again: whoever is still here was not heard.
end_machine() {
    pause_s=15
    while :; do
        while read -r method url body; do
            case $url in *'{id}'*) url=${url%%'{id}'*}$own_id${url#*'{id}'} ;; esac
            case $body in *'{id}'*) body=${body%%'{id}'*}$own_id${body#*'{id}'} ;; esac
            send "$method" "$url" "$body" "$1"
        done <<ENDS
$2
ENDS
        sleep $pause_s
        [ $pause_s -ge 600 ] || pause_s=$((pause_s * 2))
    done
}

# ---- verbs ----------------------------------------------------------------------------------------------------------

start() {
    if [ ! -e accepted ]; then
        for tool in flock setsid; do
            command -v "$tool" >/dev/null && continue
            say "this machine has no '$tool', which is needed to run a job"
            put accepted "$(now)"
            finish failed - tools_missing
            return
        done
        first_lease_s=$(spec lease_s)
        [ -z "$first_lease_s" ] || put_due lease "$first_lease_s"
        head -c 65536 /dev/zero >reserve
        put accepted "$(now)" || exit 73
    fi
    ensure_supervisor
}

stop() {
    [ -e cancel ] || put cancel "$(now)" || exit 73
    ensure_supervisor
}

poll() {
    offset=$1 limit=$2 lease_s=$3
    if [ -e accepted ]; then
        [ "$lease_s" -eq 0 ] || put_due lease "$lease_s"
        [ ! -e collect ] || put_due collect $COLLECT_S
        ensure_supervisor
    fi
    # the state before the size: a final state then means a final size
    state=none exit=- reason=- finished=- gpu=- idle=-
    if [ -s result ]; then
        read -r state exit reason finished <result
    elif [ -e started ]; then
        state=running
    elif [ -e accepted ]; then
        state=starting
    fi
    case $state in starting | running) read_gpu ;; esac
    started=$(get started)
    nonce=$(spec nonce)
    guard=$(get guard)
    size=$(log_size)
    bytes=$((size > offset ? size - offset : 0))
    bytes=$((bytes > limit ? limit : bytes))
    printf 'gputui/1 state=%s exit=%s reason=%s size=%s nonce=%s started=%s finished=%s gpu=%s idle=%s guard=%s bytes=%s\n' \
        "$state" "$exit" "$reason" "$size" "${nonce:--}" "${started:--}" "$finished" "$gpu" "$idle" "${guard:--}" "$bytes"
    [ "$bytes" -eq 0 ] || tail -c "+$((offset + 1))" log | head -c "$bytes"
}

ensure_supervisor() {
    [ -e accepted ] || return 0
    [ ! -e result ] || [ "$(get guard)" = armed ] || return 0
    is_alive supervisor.pid && return
    setsid sh "$dir/harness.sh" _supervise "$dir" </dev/null >/dev/null 2>>supervisor.err &
}

# ---- supervisor -----------------------------------------------------------------------------------------------------

# The lock is held by the supervisor and by the one process that appends to a container's log, so that two can never write.
supervise() {
    exec 9>lock
    lock_tries=0
    until flock -n 9; do
        is_alive supervisor.pid && exit 0
        is_alive writer.pid && kill -KILL "$(pid_of writer.pid)" # its supervisor was killed
        lock_tries=$((lock_tries + 1))
        [ $lock_tries -le 10 ] || exit 0
        flock -w 1 9 && break
    done
    put_pid supervisor.pid $$
    arm "$(spec end_key)" "$(spec end_id)"
    put guard "$guard"
    if [ ! -e result ]; then supervise_workload; fi
    [ "$guard" != armed ] || end_when_unwatched
}

supervise_workload() {
    grace_s=$(spec grace_s)
    max_duration_s=$(spec max_duration_s)
    idle_stop_s=$(spec idle_stop_s)
    idle_percent=$(spec idle_percent)
    gpu_due=0
    case $(spec mode) in
    docker) supervise_container ;;
    plain) supervise_process ;;
    *)
        say "the job's orders cannot be read"
        finish failed - submit_failed
        ;;
    esac
}

# end_when_unwatched: the workload is over. Whoever watches collects its log and deletes the machine. Where nobody does, this
# machine deletes itself: once the lease has lapsed, or a few minutes after a limit ended the workload.
end_when_unwatched() {
    read -r _ _ why _ <result
    case $why in max_duration | idle_stop) [ -e collect ] || put_due collect $COLLECT_S ;; esac
    until is_due lease || is_due collect; do sleep 2 9>&-; done
    end_machine "$(pwd)" "$(cat ends)" </dev/null 9>&-
}

tick() {
    sample_gpu
    sleep 1 9>&-
}

# must_stop: true when the workload has to end; keeps the first reason for it.
must_stop() {
    if [ -e reason ]; then
        :
    elif [ -e cancel ]; then
        put reason cancelled
    elif is_due deadline; then
        put reason max_duration
    elif is_due lease; then
        put reason lease
    elif is_idle; then
        put reason idle_stop
    else
        return 1
    fi
    [ -s hung ] || put_due hung $((grace_s + HUNG_S))
    return 0 # even where the disk is too full to keep the reason
}

# give_up_hung: the end of a workload that was to stop minutes ago and is still there, since Docker is dead or a process hangs
# in the kernel. Only where this machine can then be deleted with all that is on it.
give_up_hung() {
    [ "$guard" = armed ] && is_due hung || return 1
    is_alive writer.pid && kill -KILL "$(pid_of writer.pid)"
    finish lost - "$(get reason)"
}

# give_up: before the workload runs, true when the job is to stop; that is then its end.
give_up() {
    must_stop || return 1
    finish failed - "$(get reason)"
}

# mark_started: the workload runs; its time is counted from here.
mark_started() {
    [ -z "$max_duration_s" ] || put_due deadline "$max_duration_s"
    put boot "$boot"
    put started "$(now)"
}

# finish_exited CODE OOM [EPOCH]: the workload ended with a code; OOM is "true" when Docker says memory ran out.
finish_exited() {
    why=$(get reason)
    if [ -z "$why" ]; then
        why=exited
        if [ "$1" -ne 0 ] && [ "$2" = true ]; then why=oom; fi
        if [ "$1" -eq 137 ] && [ "$(oom_kills)" != "$(get oom_before)" ]; then why=oom; fi
    fi
    finish exited "$1" "$why" "${3:-$(now)}"
}

finish_lost() {
    if [ "$(get boot)" = "$boot" ]; then finish lost - -; else finish lost - rebooted; fi
}

# sample_gpu: every few seconds keep "BOOT UPTIME IDLE_SINCE IDLE FIGURES", in the background and never two at a time.
sample_gpu() {
    read_uptime
    [ "$uptime" -ge "$gpu_due" ] || return 0
    gpu_due=$((uptime + GPU_EVERY_S))
    is_alive sampler.pid && return
    {
        gpu_boot=- idle_since=- sampled=0
        [ ! -s gpu ] || read -r gpu_boot sampled idle_since _ <gpu
        [ "$gpu_boot" = "$boot" ] || idle_since=- # nobody knows what the GPUs did meanwhile
        measure_gpus
        follow_idle
        [ -e started ] || idle_since=- # the time counts from the workload's start
        put gpu "$boot $uptime $idle_since $idle $gpu"
    } </dev/null >/dev/null 2>&1 9>&- &
    put_pid sampler.pid $!
}

# read_gpu: set $gpu and $idle to what was measured lately.
read_gpu() {
    [ -s gpu ] && read -r gpu_boot sampled idle_since gpu_idle gpu_figures <gpu || return
    read_uptime
    [ "$gpu_boot" = "$boot" ] && [ $((uptime - sampled)) -le $GPU_FRESH_S ] || return
    gpu=$gpu_figures idle=$gpu_idle
}

# is_idle: true when every GPU has been idle for as long as the job allows.
is_idle() {
    [ -n "$idle_stop_s" ] && [ -e started ] || return 1
    idle=-
    read_gpu
    case $idle in *[!0-9]*) return 1 ;; esac
    [ "$idle" -ge "$idle_stop_s" ]
}

# await_mounts: until every volume is mounted. What is written to one that is not would be lost with the machine.
await_mounts() {
    put_due mounts_by $MOUNT_WAIT_S
    mounts_left=$(spec mounts)
    while [ -n "$mounts_left" ]; do
        mount_path=${mounts_left%%:*}
        if mountpoint -q "$mount_path"; then
            mounts_left=${mounts_left#"$mount_path"}
            mounts_left=${mounts_left#:}
            continue
        fi
        give_up && return 1
        if is_due mounts_by; then
            say "the volume at $mount_path was not mounted within $MOUNT_WAIT_S s"
            finish failed - volume_missing
            return 1
        fi
        tick
    done
}

# ---- plain mode: a process group on the machine itself --------------------------------------------------------------

supervise_process() {
    if [ ! -d claimed ]; then
        give_up && return
        await_mounts || return
        put oom_before "$(oom_kills)"
        setsid sh "$dir/harness.sh" _job "$dir" </dev/null >/dev/null 2>>supervisor.err 9>&- &
    fi
    missing_ticks=0
    while [ ! -e exit_code ]; do
        if is_alive wrapper.pid || is_alive job.pid; then missing_ticks=0; else missing_ticks=$((missing_ticks + 1)); fi
        if [ $missing_ticks -ge $LOST_AFTER_TICKS ]; then
            finish_lost
            return
        fi
        if [ $missing_ticks -eq 0 ] && must_stop; then
            give_up_hung && return
            end_process_group
        fi
        tick
    done
    read -r code ended <exit_code
    finish_exited "$code" false "$ended"
}

end_process_group() {
    is_alive job.pid || return
    group=$(pid_of job.pid)
    kill -TERM "-$group" 2>/dev/null || kill -TERM "$group" 2>/dev/null # it is about to lead a group
    waited_s=0
    while [ $waited_s -lt "$grace_s" ] && is_alive job.pid; do
        tick
        waited_s=$((waited_s + 1))
    done
    kill -KILL "-$group" 2>/dev/null # its children may outlive it
}

# The job's wrapper outlives a killed supervisor and records the exit code itself. Claiming the folder keeps a second
# wrapper from ever running the command again.
run_job() {
    mkdir claimed 2>/dev/null || exit 0
    put_pid wrapper.pid $$
    max_duration_s=$(spec max_duration_s)
    set -- "$(command -v bash || command -v sh)" "$(cat command)" "$dir/env"
    mark_started
    # not straight into the log, which a command would empty by writing to /dev/stderr
    rm -f pipe && mkfifo pipe
    until cat; do sleep 5; done <pipe >>log 2>/dev/null & # a full disk costs output, not the job
    reader=$!
    (
        umask 022
        cd "$HOME" 2>/dev/null || cd /
        while IFS= read -r _gputui_line; do
            # shellcheck disable=SC2163  # the line is NAME=value
            export "$_gputui_line"
        done <"$3"
        unset _gputui_line
        exec setsid "$1" -c "$2"
    ) </dev/null >pipe 2>&1 &
    job=$!
    put_pid job.pid $job
    wait $job 2>/dev/null # quiet about a signal
    code=$?
    ended=$(now)
    kill -KILL "-$job" 2>/dev/null # what the command left behind, as a container would
    read_uptime
    drained_by=$((uptime + DRAIN_S)) # what went into a session of its own may go on printing
    while identify $reader && [ "$uptime" -lt $drained_by ]; do
        sleep 0.1
        read_uptime
    done
    until put exit_code "$code $ended"; do sleep 5; done
}

# ---- Docker mode: a named container ---------------------------------------------------------------------------------

# dock LIMIT_S ARGUMENTS…: ask Docker; 0 is no limit. A client that is cut off proves nothing about the container.
dock() {
    limit_s=$1
    shift
    # shellcheck disable=SC2086  # "docker" or "sudo -n docker"
    timeout "$limit_s" $docker "$@" 9>&-
}

supervise_container() {
    name=$(spec name)
    image=$(spec image)
    docker=$(get docker)
    if [ ! -e started ]; then
        [ -e submitted ] || prepare_container || return
        start_container || return
    fi
    follow_container
}

prepare_container() {
    if [ -n "$max_duration_s" ] && [ ! -e deadline ]; then put_due deadline "$max_duration_s"; fi
    ! give_up && await_mounts && find_docker && pull_image
}

# find_docker: wait for a daemon that answers and remember how it is reached.
find_docker() {
    put_due docker_by "$(spec docker_wait_s)"
    while :; do
        docker=docker
        dock 20 version >docker.version 2>docker.err && break
        docker='sudo -n docker'
        dock 20 version >docker.version 2>/dev/null && break
        give_up && return 1
        if is_due docker_by; then
            say "Docker cannot be used on this machine: $(head -c 500 docker.err)"
            finish failed - docker_missing
            return 1
        fi
        if [ ! -e docker_waited ]; then
            say "waiting for Docker on this machine"
            put docker_waited "$(now)"
        fi
        tick
    done
    put docker "$docker"
}

# write_log SKIP COMMAND…: append what COMMAND prints to the log but for its first SKIP bytes, in the background.
# Only the writer holds the lock. It notes its own id: one that nobody knows, since the supervisor was killed right here, would
# keep every later supervisor away for as long as the container runs. COMMAND's status is in rc.PID once the writer has ended
# by itself. dd takes exactly what it is asked for and cat passes on at once; tail would keep back 4 KiB.
write_log() {
    skip=$1
    shift
    rm -f "rc.$$"
    { "$@"; put "rc.$$" $?; } 9>&- | {
        read -r self _ </proc/self/stat
        put_pid writer.pid "$self" 9>&-
        [ "$skip" -eq 0 ] || dd bs=65536 count="$skip" iflag=fullblock,count_bytes of=/dev/null status=none 9>&-
        exec cat
    } >>log &
    writer=$!
    put_pid writer.pid $writer || : # it may have ended already
}

# written: the status of the last write_log, 1 when it was cut off.
written() { if [ -s "rc.$$" ]; then cat "rc.$$"; else echo 1; fi; }

docker_pull() { dock 0 pull "$image" 2>&1; }

# pull_image: the download shows in the log, since that is what takes long. Its end fixes `prefix`.
pull_image() {
    [ ! -e prefix ] || return 0
    tries=1
    say "pulling $image"
    until write_log 0 docker_pull && await_writer; do
        [ ! -e result ] || return 1
        if dock 20 image inspect "$image" >/dev/null 2>&1; then
            say "using the image as it is on this machine"
            break
        fi
        case $(tail -c 2000 log) in
        *"manifest unknown"* | *"not found"* | *denied* | *unauthorized* | *"invalid reference"*) tries=$PULL_TRIES ;;
        esac
        if [ $tries -ge $PULL_TRIES ]; then
            finish failed - pull_failed
            return 1
        fi
        tries=$((tries + 1))
        tick
        find_docker || return 1 # the daemon may just be restarting
    done
    put prefix "$(log_size)"
}

# await_writer: until the log's writer is done; its command's status. Ends the job when it is to stop.
await_writer() {
    while is_alive writer.pid; do
        if give_up; then
            kill -KILL "$(pid_of writer.pid)" 2>/dev/null
            return 1
        fi
        tick
    done
    return "$(written)"
}

# Inside the container: one stream, so that Docker's own errors can be told from the job's, and bash where the image has it.
# shellcheck disable=SC2016  # expanded there
IN_CONTAINER='exec 2>&1; if command -v bash >/dev/null; then exec bash -c "$1"; fi; exec sh -c "$1"'

create_container() {
    put submitted "$(now)"
    # a rotated log would break counting: the size overrides a limit in the daemon's own settings (it takes no "unlimited")
    set -- --name "$name" --label "gputui=$name" --log-driver json-file --log-opt max-size=1000t
    # shared memory for data loaders, which Docker's default of 64 MiB breaks
    set -- "$@" --ipc=host --env-file "$dir/env"
    # a first process of a container that handles no TERM ignores it; Docker's own init, where it has one, passes it on
    case $(cat docker.version) in *docker-init*) set -- "$@" --init ;; esac
    if command -v nvidia-smi >/dev/null; then
        set -- "$@" --gpus all
    else
        echo "no nvidia-smi on this machine: the container runs without --gpus" >notes
    fi
    # unlike -v this refuses a path that is not there, rather than make an empty folder
    for mount_path in $(spec mounts | tr : ' '); do
        set -- "$@" --mount "type=bind,src=$mount_path,dst=$mount_path"
    done
    if [ -s command ]; then
        set -- "$@" --entrypoint sh "$image" -c "$IN_CONTAINER" gputui "$(cat command)"
    else
        set -- "$@" "$image"
    fi
    dock 300 run -d "$@" >/dev/null 2>submit.err
}

# start_container: until Docker's own record shows that it was started. A client's exit code proves nothing.
start_container() {
    tries=0
    put_due docker_by "$(spec docker_wait_s)"
    while :; do
        read_container
        case $state in
        unknown)
            [ -e submitted ] || ! give_up || return 1
            if is_due docker_by; then
                must_stop
                finish lost - "$(get reason)"
                return 1
            fi
            tick
            continue
            ;;
        absent | created) give_up && return 1 ;;
        *)
            put oom_before "$(oom_kills)"
            mark_started
            return
            ;;
        esac
        if [ $tries -ge $SUBMIT_TRIES ]; then
            cat submit.err >>log
            finish failed - submit_failed
            return 1
        fi
        tries=$((tries + 1))
        if [ "$state" = created ]; then
            dock 300 start "$name" >/dev/null 2>submit.err
        else
            create_container
        fi
    done
}

# read_container: set $state (Docker's word, absent, or unknown while the daemon does not answer), $code and $oom.
read_container() {
    format='{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}'
    if dock 60 container inspect -f "$format" "$name" >inspect.out 2>inspect.err; then
        read -r state code oom <inspect.out
    else
        case $(cat inspect.err) in *[Nn]"o such"*) state=absent ;; *) state=unknown ;; esac
    fi
}

# container_log LIMIT_S [-f]: the whole log; with -f as it grows, until the container ends.
container_log() {
    log_limit_s=$1
    shift
    if [ -s command ]; then
        dock "$log_limit_s" logs "$@" "$name" 2>logs.err
    else
        dock "$log_limit_s" logs "$@" "$name" 2>&1 # an image's own entrypoint may use both streams
    fi
}

# Docker replays a container's log from its first byte in one order: what is already in our log is skipped by count.
container_log_size() { echo $(($(log_size) - $(get prefix))); }

follow_container() {
    failed_stops=0
    while :; do
        read_container
        case $state in
        exited | dead) break ;;
        absent) finish_lost && return ;;
        unknown) tick ;;
        *)
            write_log "$(container_log_size)" container_log 0 -f
            while is_alive writer.pid; do
                if must_stop; then
                    give_up_hung && return
                    stop_container
                fi
                tick
            done
            if [ "$(written)" -ne 0 ]; then tick; fi
            ;;
        esac
        if must_stop; then
            give_up_hung && return
            stop_container
        fi
    done
    read_uptime
    retry_until=$((uptime + FINAL_LOG_RETRY_S))
    while [ "$uptime" -lt $retry_until ]; do
        write_log "$(container_log_size)" container_log $FINAL_LOG_S
        wait $writer 2>/dev/null
        [ "$(written)" -ne 0 ] || break
        tick
        read_uptime
    done
    # 255 is what Docker notes for a container that ran when the machine went down
    if [ "$code" = 255 ] && [ "$(get boot)" != "$boot" ]; then finish_lost; else finish_exited "$code" "$oom"; fi
}

# stop_container: with its grace, as long as a daemon that cannot do even that is not the rule.
stop_container() {
    if [ $failed_stops -lt $STOP_TRIES ]; then
        dock $((grace_s + 60)) stop -t "$grace_s" "$name" >/dev/null 2>&1 || failed_stops=$((failed_stops + 1))
    else
        dock 60 kill "$name" >/dev/null 2>&1
    fi
}

# ---- entry ----------------------------------------------------------------------------------------------------------

is_number() { case $1 in '' | *[!0-9]*) return 1 ;; esac; }

main() {
    verb=${1-} dir=${2-}
    cd "$dir" 2>/dev/null && [ -e harness.sh ] || { echo "harness: no job folder '$dir'" >&2 && exit 66; }
    dir=$(pwd -P)
    case $verb/$# in
    start/2 | stop/2) "$verb" ;;
    poll/5)
        if ! is_number "$3" || ! is_number "$4" || ! is_number "$5"; then echo "harness: not a number" >&2 && exit 64; fi
        poll "$3" "$4" "$5"
        ;;
    _supervise/2) supervise ;;
    _job/2) run_job ;;
    *)
        echo "usage: harness.sh start DIR | poll DIR OFFSET LIMIT LEASE_S | stop DIR" >&2
        exit 64
        ;;
    esac
}

# the shell has read all of this before any of it runs, so the file may be replaced meanwhile
main "$@"
exit $?
