import type { TransportTraits } from './transport.ts';

/** Transports that do not carry the end of one direction alone. */
const NO_HALF_CLOSE: ReadonlySet<string> = new Set([
  // Firecracker makes a full shutdown of the host's end of stream, and does not pass on the guest's.
  'hybrid',
  // A named pipe of Windows has one end only.
  'npipe',
]);

/** What a transport with many streams is able to do. @param whoDials the side of the VM boundary that dials */
export function traitsOf(address: { readonly scheme: string }, whoDials: 'host' | 'vm'): TransportTraits {
  return { manyStreams: true, halfClose: !NO_HALF_CLOSE.has(address.scheme), whoDials };
}
