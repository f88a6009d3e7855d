/** The groups of cases; each is a file in guest/ with a function `run`. */
export const GROUPS = ['vsock', '9p', 'docker'] as const;

/** The bytes of a bulk transfer: TestBytes of this seed. */
export const BULK = { seed: 7, bytes: 100_000_000 } as const;
