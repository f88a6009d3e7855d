/** What the guest runs as its first process: before its root file system is mounted, and after. */

/** Lines of the console by which the guest speaks to whoever started it. */
export const STARTED = 'PORTFERRY-GUEST started';
export const ENDED = 'PORTFERRY-GUEST ended';
/** Said again and again, whatever else runs. */
export const ALIVE = 'PORTFERRY-GUEST alive';

export const INITRD_INIT = `#!/bin/busybox sh
busybox mount -t proc proc /proc; busybox mount -t sysfs sys /sys; busybox mount -t devtmpfs dev /dev
for module in $(busybox cat /modules/order); do busybox insmod /modules/$module; done
tries=0; while [ ! -b /dev/vda ] && [ $tries -lt 200 ]; do busybox sleep 0.05; tries=$((tries+1)); done
busybox mount -t ext4 -o noatime /dev/vda /root || { echo '${ENDED} 250'; busybox poweroff -f; }
for each in dev proc sys; do busybox mount -o move /$each /root/$each; done
exec busybox switch_root /root /sbin/init
`;

export const GUEST_INIT = `#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
stty -F /dev/console -opost -echo 2>/dev/null
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sfn /proc/self/fd /dev/fd
hostname guest; ip link set lo up
modprobe virtio-rng
# The payload is a tar that was written straight onto a disk.
tar xf /dev/vdb -C /payload; cd /payload
echo; echo '${STARTED}'
while sleep 5; do echo '${ALIVE}'; done &
sh ./run.sh </dev/null 2>&1; status=$?
echo; echo "${ENDED} $status"
poweroff -f
`;
