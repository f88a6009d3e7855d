/** The names of the guest's serial ports. */
export const LINK_PORT = 'org.portferry.link';
export const ORDERS_PORT = 'org.portferry.orders';

/** The device of the port that the VM shim listens on. */
export const LINK_DEVICE = `/dev/virtio-ports/${LINK_PORT}`;
/** What the guest says when it takes orders, each time that it has booted. */
export const READY = 'ready';

/** How long an order may take before it is killed, seconds. */
export const ORDER_SECONDS = 100;

/**
 * What a guest runs that is used from outside: one command after the other, that come as lines `ID BASE64` over a serial
 * port, answered by `ID STATUS BASE64`. There is no udev that would name the ports.
 */
export const GUEST_SCRIPT = `
modprobe virtio_console
mkdir -p /dev/virtio-ports
until [ -e /dev/virtio-ports/${ORDERS_PORT} ] && [ -e ${LINK_DEVICE} ]; do
  sleep 0.1
  for port in /sys/class/virtio-ports/*; do
    read -r name <"$port/name" && ln -sf "../\${port##*/}" "/dev/virtio-ports/$name"
  done
done
exec 3<>/dev/virtio-ports/${ORDERS_PORT}
echo ${READY} >&3
while :; do
  read -r id words <&3 || { sleep 0.1; continue; }
  echo "$words" | base64 -d >/tmp/order
  timeout -s KILL ${ORDER_SECONDS} sh /tmp/order </dev/null >/tmp/said 2>&1 3<&-
  status=$?
  { printf '%s %s ' "$id" "$status"; tail -c 16000 /tmp/said | base64 -w 0; echo; } >/tmp/answer
  dd if=/tmp/answer bs=32768 count=1 >&3 2>/dev/null # in one piece, as the port takes it
done
`;
