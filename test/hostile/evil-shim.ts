/** A shim that the host agent dials: it does the link properly, and leaves streams to an attack. */
import { rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { pack } from 'msgpackr';
import { listForwards } from '../helpers/api.ts';
import { until } from '../helpers/processes.ts';
import { LinkCutter, type Piece } from '../helpers/wire-pieces.ts';
import { controlFrame, handshake, hello } from './raw-link.ts';
import type { Scene } from './scene.ts';

/**
 * @param onStream gets every stream behind its preface
 * @param onPiece gets whatever else the host agent says
 */
export async function withShim<T>(
  scene: Scene,
  onStream: (stream: Socket, preface: Buffer, link: Socket) => void,
  attack: () => Promise<T>,
  onPiece: (piece: Piece) => unknown = () => {},
): Promise<T> {
  const sockets = new Set<Socket>();
  let link: Socket | undefined;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('end', () => socket.destroy());
    const cutter = new LinkCutter(false);
    socket.on('data', (chunk: Buffer) => {
      for (const piece of cutter.push(chunk)) {
        const { kind, bytes } = piece;
        if (kind === 'hello') {
          link = socket;
          socket.write(handshake(hello()));
        } else if (kind === 'start') {
          socket.write(controlFrame(pack({ type: 'started' })));
          socket.write(controlFrame(pack({ type: 'claims', claims: [], more: false })));
        } else if (kind === 'preface') onStream(socket, bytes, link!);
        else onPiece(piece);
      }
    });
  });
  rmSync(scene.evilListener, { force: true });
  await new Promise<void>((resolve) => server.listen(scene.evilListener, resolve));
  try {
    await until('the link', async () =>
      (await listForwards(scene.api)).vms.some(({ name, up }) => name === 'evil-dialled' && up),
    );
    return await attack();
  } finally {
    server.close();
    for (const socket of sockets) socket.destroy();
  }
}
