import { afterEach, expect, it } from 'vitest';
import { OtherListeners } from '../../../shared/ports/other-listeners.ts';
import { reserveTcp } from '../../../shared/ports/reserve-tcp.ts';
import {
  refuseWaitedAt,
  reserveTcpWaiting,
  type WaitingReservation,
} from '../../../shared/ports/reserve-tcp-waiting.ts';
import { connectTo, fateOf, refuses } from '../../helpers/stream-client.ts';

const open: { close(): Promise<void> }[] = [];
afterEach(() => Promise.all(open.splice(0).map((each) => each.close())));

async function waiting(port = 0): Promise<WaitingReservation> {
  const reservation = await reserveTcpWaiting({ ip: '127.0.0.1', port });
  open.push(reservation);
  return reservation;
}

it('refuses clients until it listens, and again when it is told to', async () => {
  const reservation = await waiting();
  const { port } = reservation;
  let clients = 0;
  reservation.start((socket) => {
    clients++;
    socket.end();
  });
  for (const round of [1, 2]) {
    expect(await refuses(port)).toBe(true);
    await reservation.listen();
    await reservation.listen();
    expect((await fateOf((await connectTo(port)).end())).how).toBe('end');
    expect(clients).toBe(round);
    reservation.refuse();
  }
  expect(await refuses(port)).toBe(true);
});

it('is told when somebody else has taken the port meanwhile', async () => {
  const reservation = await waiting();
  const other = await reserveTcp({ ip: '127.0.0.1', port: reservation.port });
  await expect(reservation.listen()).rejects.toMatchObject({ code: 'PORT_IN_USE' });
  await other.close();
  await reservation.listen();
});

it('does not listen beside somebody whom the system would allow beside it', async () => {
  let others = new OtherListeners([]);
  const lookAround = async () => others;
  const reservation = await reserveTcpWaiting({ ip: '127.0.0.1', port: 0, lookAround });
  open.push(reservation);
  const { port } = reservation;
  others = new OtherListeners([{ ip: '0.0.0.0', port, pid: 1 }]);
  await expect(reservation.listen()).rejects.toMatchObject({
    code: 'PORT_IN_USE',
    place: { protocol: 'tcp', ip: '127.0.0.1', port },
  });
  expect(await refuses(port)).toBe(true);
  others = new OtherListeners([]);
  await reservation.listen();
  expect(await refuses(port)).toBe(false);
});

it('keeps others of this process away from the port, until it is closed', async () => {
  const reservation = await waiting();
  const where = { ip: '127.0.0.1', port: reservation.port };
  const taken = expect.objectContaining({
    code: 'PORT_IN_USE',
    message: `Bind for 127.0.0.1:${reservation.port} failed: port is already allocated`,
  });
  await expect(waiting(reservation.port)).rejects.toEqual(taken);
  expect(() => refuseWaitedAt(where)).toThrow(taken);
  refuseWaitedAt({ ...where, ip: '127.0.0.2' });
  await reservation.close();
  await reservation.close();
  refuseWaitedAt(where);
  await waiting(reservation.port);
});

it('opens nothing any more once it is closed', async () => {
  const reservation = await waiting();
  const listening = reservation.listen();
  await reservation.close();
  await listening;
  expect(await refuses(reservation.port)).toBe(true);
});
