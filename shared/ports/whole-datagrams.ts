import type { Socket } from 'node:dgram';

/** The length field of UDP (RFC 768) allows no more. */
const LARGEST_BYTES = 65_535;

/**
 * Lets a socket send datagrams of every size. On macOS and the BSDs its send buffer is the largest datagram that it
 * takes (EMSGSIZE), 9,216 bytes unless told (net.inet.udp.maxdgram). A larger buffer stays as it is.
 * @param socket bound or connected
 */
export function allowWholeDatagrams(socket: Pick<Socket, 'getSendBufferSize' | 'setSendBufferSize'>): void {
  try {
    if (socket.getSendBufferSize() < LARGEST_BYTES) socket.setSendBufferSize(LARGEST_BYTES);
  } catch {
    // Smaller ones are sent all the same.
  }
}
