import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';

/** A UDP socket on loopback that keeps what it gets: a client, or with `udpEcho` a stand-in container. */
export interface UdpPeer {
  readonly port: number;
  readonly received: Buffer[];
  readonly socket: Socket;
  send(payload: Buffer, port: number): void;
  close(): Promise<void>;
}

const BUFFER_BYTES = 4 * 1024 * 1024;

/** @param onMessage instead of keeping what arrives */
export async function udpPeer(
  port = 0,
  onMessage?: (payload: Buffer, from: RemoteInfo, socket: Socket) => void,
): Promise<UdpPeer> {
  const received: Buffer[] = [];
  const lookup = (host: string, _options: unknown, done: (e: null, ip: string, f: number) => void) =>
    done(null, host, 4);
  const socket = createSocket({ type: 'udp4', lookup: lookup as never });
  socket.on('message', (payload, from) => {
    if (onMessage === undefined) received.push(payload);
    else onMessage(payload, from, socket);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ address: '127.0.0.1', port }, () => {
      socket.off('error', reject);
      resolve();
    });
  });
  socket.on('error', () => {}); // an ICMP refusal; the datagram is lost
  socket.setRecvBufferSize(BUFFER_BYTES);
  let closed: Promise<void> | undefined;
  return {
    port: socket.address().port,
    received,
    socket,
    send: (payload, to) => socket.send(payload, to, '127.0.0.1', () => {}),
    close: () => {
      closed ??= new Promise((resolve) => socket.close(() => resolve()));
      return closed;
    },
  };
}

/** Sends each datagram back to where it came from. */
export function udpEcho(port = 0): Promise<UdpPeer> {
  return udpPeer(port, (payload, from, socket) => socket.send(payload, from.port, from.address, () => {}));
}
