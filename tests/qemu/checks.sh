#!/bin/busybox sh
# First process of a virtual machine with pure cgroup v2: what of the engine depends on it. Prints `ok NAME` or `not ok NAME`
# for each check and powers off.
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
for module in overlay bridge veth nf_tables nft_chain_nat nft_nat nft_masq nft_fib_ipv4 nft_fib_ipv6 nft_fib_inet nft_ct br_netfilter; do
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
    orlop serve >>/tmp/engine.log 2>&1 &
    engine=$!
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

if grep -q ERROR /tmp/engine.log; then
    cat /tmp/engine.log
fi
echo "all checks have run"
poweroff -f
