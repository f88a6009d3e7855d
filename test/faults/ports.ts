import { hostPort } from '../helpers/processes.ts';

/** Where the clients of a resolved spec connect: on the host, or for a reverse forward in the VM. */
export function portOf(spec: string): number {
  return isReverse(spec) ? Number(spec.split(':').at(-1)) : hostPort(spec);
}

export function isReverse(spec: string): boolean {
  return spec.startsWith('reverse:');
}
