/** Groups of cases that run in a guest, with both programs: each is a file in guest/ with a function `run`. */
export const INSIDE = ['vsock', '9p'] as const;
/** Groups whose host agent and clients run on this machine, and whose VM is a guest: files in outside/. */
export const OUTSIDE = ['serial', 'docker', 'podman', 'paused'] as const;

/** The bytes of a bulk transfer in a guest: TestBytes of this seed. */
export const BULK = { seed: 7, bytes: 100_000_000 } as const;
