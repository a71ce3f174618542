#!/bin/busybox sh
# First process of a virtual machine with pure cgroup v2, project quotas and every capability: what of the engine depends on
# them. Prints `ok NAME` or `not ok NAME` for each check and powers off.
export PATH=/bin:/sbin HOME=/root TERM=dumb
/bin/busybox --install -s /bin
ln -sf /bin/busybox /sbin/modprobe
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/pts /dev/shm /root
mount -t devpts -o ptmxmode=666 none /dev/pts
mount -t tmpfs none /dev/shm
mount -t tmpfs none /run
mount -t cgroup2 none /sys/fs/cgroup
echo /sbin/modprobe >/proc/sys/kernel/modprobe
for module in overlay bridge veth nf_tables nft_chain_nat nft_nat nft_masq nft_fib_ipv4 nft_fib_ipv6 nft_fib_inet nft_ct br_netfilter loop xfs quota_v2; do
    modprobe "$module" 2>/dev/null
done
ip link set lo up
hostname v2
# Debian keeps the kernel's log to itself; here it stands for any device that a container has to be given.
echo 0 >/proc/sys/kernel/dmesg_restrict

# check NAME COMMAND…: the command's exit code decides; what it said is shown when it fails.
check() {
    name=$1
    shift
    if "$@" >/tmp/said 2>&1; then
        echo "ok $name"
    else
        echo "--- $name: exit code $?"
        cat /tmp/said
        echo "not ok $name"
    fi
}

code() { # code WANTED COMMAND…
    wanted=$1
    shift
    "$@"
    got=$?
    echo "exit code $got"
    [ "$got" = "$wanted" ]
}

says() { # says WANTED COMMAND…
    wanted=$1
    shift
    said=$("$@" 2>&1)
    echo "said: $said"
    [ "$said" = "$wanted" ]
}

until_true() { # until_true COMMAND…: for at most a minute
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || return 1
        sleep 0.2
    done
}

serve() {
    # A client that finds nobody starts an engine itself.
    rm -f /run/orlop/docker.sock
    orlop serve >>/tmp/engine.log 2>&1 &
    engine=$!
    until_true test -S /run/orlop/docker.sock
    until_true orlop ps >/dev/null 2>&1
}

state() { orlop inspect "$1" --format "$2"; }
state_is() { [ "$(state "$1" "$2")" = "$3" ]; }
groups() { find /sys/fs/cgroup -type d | grep -E '/[0-9a-f]{64}$'; }
no_groups() { ! groups; }
in_group() { cat "$(groups | grep "$(state "$1" '{{.Id}}')" | head -n 1)/$2"; }

check engine_starts serve
check import orlop import /busybox.tar busybox
check exit_code code 7 orlop run --rm --network none busybox sh -c 'exit 7'
check not_found code 127 orlop run --rm --network none busybox nosuchprogram

volume() {
    orlop run --rm -v data:/data busybox sh -c 'echo kept >/data/f' && says kept orlop run --rm -v data:/data busybox cat /data/f
}
check volume_persists volume

oom() {
    code 137 orlop run --name oom -m 32m --network none busybox tail /dev/zero && says true state oom '{{.State.OOMKilled}}'
}
check out_of_memory oom

orlop run -d --name it -m 64m --cpus 0.5 --pids-limit 20 --cpuset-cpus 0 --cpu-shares 512 busybox sleep 1000 >/dev/null
check memory_max says 67108864 in_group it memory.max
check cpu_max says "50000 100000" in_group it cpu.max
check pids_max says 20 in_group it pids.max
check cpuset says 0 in_group it cpuset.cpus
check own_view says 67108864 orlop exec it cat /sys/fs/cgroup/memory.max
check own_cgroup_namespace says 0::/ orlop exec it cat /proc/self/cgroup
check pids_limit says "sh: can't fork: Resource temporarily unavailable" orlop exec it sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 1 & done; wait'

update() {
    orlop update -m 48m --memory-swap 48m it && says 50331648 in_group it memory.max
}
check update update

freeze() {
    orlop pause it && says paused state it '{{.State.Status}}' && in_group it cgroup.events | grep 'frozen 1' &&
        orlop unpause it && says running state it '{{.State.Status}}' && orlop exec it true
}
check pause_and_unpause freeze

denied() {
    orlop run --rm --network none busybox sh -c 'mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg' >/tmp/denied 2>&1
    cat /tmp/denied
    grep 'Operation not permitted' /tmp/denied
}
check device_denied denied
check device_usual says 4 orlop run --rm --network none busybox sh -c 'head -c 4 /dev/zero | wc -c; echo >/dev/null'
check device_given code 0 orlop run --rm --network none --device /dev/kmsg busybox sh -c 'head -c 1 /dev/kmsg >/dev/null'
check device_readable_only code 1 orlop run --rm --network none --device /dev/kmsg:/dev/kmsg:r busybox sh -c 'echo x >/dev/kmsg'
check privileged_device code 0 orlop run --rm --network none --privileged busybox sh -c 'mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg >/dev/null'

copies() {
    echo text >/tmp/file
    orlop cp /tmp/file it:/tmp/copied && says text orlop exec it cat /tmp/copied && orlop cp it:/tmp/copied /tmp/back &&
        says text cat /tmp/back
}
check cp copies
stopped_copies() {
    orlop create --name never -v data:/data busybox true && orlop cp /tmp/file never:/data/copied &&
        says text orlop run --rm -v data:/data busybox cat /data/copied && orlop rm never
}
check cp_into_a_volume stopped_copies
commits() { orlop commit it committed && says text orlop run --rm committed cat /tmp/copied; }
check commit commits

check stats orlop stats --no-stream it
stats_memory() { orlop stats --no-stream --format '{{.MemUsage}}' it | grep -E '[1-9].* / 48MiB'; }
check stats_memory stats_memory
check top orlop top it

orlop run -d --name web -p 8080:80 busybox sh -c 'mkdir /www; echo page >/www/page; exec httpd -f -p 80 -h /www' >/dev/null
# As a container would, from a root without the libraries of the engine.
mkdir /var/small
tar -C /var/small -xf /busybox.tar
fetch() { [ "$(chroot /var/small wget -qO- "http://$1/page")" = page ]; }
check published_port until_true fetch 127.0.0.1:8080
check container_address until_true fetch "$(state web '{{.NetworkSettings.IPAddress}}')"
check names says page orlop run --rm busybox wget -qO- http://web/page

survives() {
    kill -9 "$engine"
    wait "$engine" 2>/dev/null
    fetch 127.0.0.1:8080 && serve && says running state web '{{.State.Status}}' && orlop exec web true
}
check engine_killed survives

check stop orlop stop -t 0 web it
check exit_recorded says 137 state it '{{.State.ExitCode}}'
check remove orlop rm -f oom it web
check no_cgroup_left until_true no_groups
no_interface() { ! ip -o link | grep veth; }
check no_interface_left until_true no_interface
no_mount() { ! grep -E 'orlop/(containers|layers)' /proc/mounts; }
check no_mount_left no_mount

# Limits: what a container feels of project quotas, under a kill and over a reboot of the disk.
fails() { # fails COMMAND…: the exit code is not 0
    if "$@"; then return 1; fi
}
megabytes() { # megabytes VOLUME COUNT FILE
    orlop run --rm --network none -v "$1:/data" busybox sh -c "dd if=/dev/zero of=/data/$3 bs=1M count=$2 conv=fsync"
}
limit_of() { orlop volume inspect "$1" --format '{{.Limits.Size}} {{.Abilities.Limit}}'; }

disk() { # disk KIND: a pool on a new filesystem with project quotas
    truncate -s 419430400 "/tmp/$1.image"
    case $1 in
    ext4) mkfs.ext4 -q -O quota,project /tmp/ext4.image ;;
    xfs) mkfs.xfs -q /tmp/xfs.image ;;
    esac
    mkdir -p "/mnt/$1"
    mount -o loop,prjquota -t "$1" "/tmp/$1.image" "/mnt/$1" && mkdir "/mnt/$1/pool" &&
        orlop pool create --source "/mnt/$1/pool" "$1"
}
holds() {
    orlop volume create --pool "$1" --size 16m "q$1" && says "16777216 project-quota" limit_of "q$1" &&
        megabytes "q$1" 8 kept && fails megabytes "q$1" 12 more && orlop run --rm --network none -v "q$1:/data" busybox rm /data/more
}
grows() {
    orlop run -d --name writer --network none -v "q$1:/data" busybox sleep 1000 &&
        orlop volume resize "q$1" 32m && orlop exec writer dd if=/dev/zero of=/data/more bs=1M count=20 conv=fsync &&
        fails orlop volume resize "q$1" 16m && orlop exec writer rm /data/more && orlop volume resize "q$1" 12m &&
        fails orlop exec writer dd if=/dev/zero of=/data/more bs=1M count=8 conv=fsync && orlop exec writer rm /data/more
}
shown_size() { # what it holds by the quota's account: 8 MiB and a little
    held=$(orlop volume inspect "q$1" --format '{{.Limits.Used}}')
    echo "held: $held"
    [ "$held" -ge 8388608 ] && [ "$held" -lt 9437184 ]
}
turns_back() {
    orlop rm -f writer && orlop volume snapshot create --name s "q$1" && orlop volume clone "q$1@s" "c$1" && orlop volume restore "q$1@s" &&
        says "12582912 project-quota" limit_of "c$1" && fails megabytes "c$1" 8 more && fails megabytes "q$1" 8 more
}
restarts() {
    kill -9 "$engine"
    wait "$engine" 2>/dev/null
    serve && says "12582912 project-quota" limit_of "q$1" && fails megabytes "q$1" 8 more &&
        orlop volume snapshot create --name full "q$1"
}
goes() {
    orlop volume rm --now "q$1" "c$1" && orlop pool rm "$1" && [ -z "$(ls "/mnt/$1/pool")" ]
}
for kind in ext4 xfs; do
    check "quota_pool_on_$kind" disk "$kind"
    check "quota_holds_on_$kind" holds "$kind"
    check "quota_grows_and_shrinks_in_use_on_$kind" grows "$kind"
    check "quota_tells_use_on_$kind" shown_size "$kind"
    check "quota_of_snapshot_clone_and_restore_on_$kind" turns_back "$kind"
    check "quota_after_a_kill_on_$kind" restarts "$kind"
    check "quota_is_taken_away_on_$kind" goes "$kind"
done

# A mounted filesystem of the volume's own grows under its writer.
image_grows() {
    orlop volume create --size 16m --opt image=true grown && says "16777216 image" limit_of grown &&
        orlop run -d --name writer --network none -v grown:/data busybox sleep 1000 &&
        orlop exec writer sh -c 'echo first >/data/first' && fails orlop exec writer dd if=/dev/zero of=/data/more bs=1M count=24 &&
        orlop volume resize grown 64m && orlop exec writer dd if=/dev/zero of=/data/more bs=1M count=24 conv=fsync &&
        says first orlop exec writer cat /data/first && fails orlop volume resize grown 16m
    result=$?
    orlop rm -f writer
    [ $result = 0 ] && orlop volume rm --now grown
}
check image_grows_in_use image_grows

# The suite that all backends pass, for those that only this machine has.
suite() { # suite NAME: none of its trials may be left out
    TMPDIR=/tmp limits --test-threads 1 "$1" >/tmp/suite 2>&1
    result=$?
    cat /tmp/suite
    [ $result = 0 ] && grep -q ' 0 ignored' /tmp/suite && ! grep -q ' 0 passed' /tmp/suite
}
check suite_project_quotas_of_ext4 suite "project quotas of ext4"
check suite_project_quotas_of_XFS suite "project quotas of XFS"
check suite_counting_only suite "only counts"
check suite_image_that_grows_in_use suite "dir on ext4"

if grep -q ERROR /tmp/engine.log; then
    cat /tmp/engine.log
fi
echo "all checks have run"
poweroff -f
