/** What containers are made of in the guest: what brings a container to the guest's own node, and a server for that. */
export const ROOT = '/tmp/tiny';
export const MAKE_ROOT = `mkdir -p ${ROOT}/bin && cp /bin/busybox ${ROOT}/bin && ln -sf busybox ${ROOT}/bin/chroot`;
/** Of docker run and podman run. */
export const VOLUME = '-v /:/vm:ro';
export const SERVE = 'chroot /vm node /payload/dist/test/vm/guest/hello-container.js';
