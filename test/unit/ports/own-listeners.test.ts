import { expect, it } from 'vitest';
import { OwnListeners } from '../../../shared/ports/own-listeners.ts';
import { reserveTcp } from '../../../shared/ports/reserve-tcp.ts';

const taken = { code: 'PORT_IN_USE', message: expect.stringContaining('port is already allocated') };

it.each([
  ['127.0.0.1', '0.0.0.0', true],
  ['0.0.0.0', '127.0.0.1', true],
  ['127.0.0.1', '127.0.0.1', true],
  ['::1', '::', true],
  ['127.0.0.1', '127.0.0.2', false],
  ['0.0.0.0', '::', false],
])('%s beside our %s is refused: %s', (wanted, held, refused) => {
  const own = new OwnListeners();
  const leave = own.take({ ip: held, port: 80 });
  own.take({ ip: wanted, port: 81 });
  if (!refused) own.take({ ip: wanted, port: 80 });
  else {
    expect(() => own.take({ ip: wanted, port: 80 })).toThrow(expect.objectContaining(taken));
    leave();
    own.take({ ip: wanted, port: 80 });
  }
});

it('holds for what this process listens on, as long as it does', async () => {
  const own = new OwnListeners();
  const first = await reserveTcp({ ip: '127.0.0.1', port: 0, own });
  const where = { ip: '127.0.0.1', port: first.port };
  expect(() => own.take({ ...where, ip: '0.0.0.0' })).toThrow(expect.objectContaining(taken));
  await first.close();
  const leave = own.take({ ...where, ip: '0.0.0.0' });
  await expect(reserveTcp({ ...where, own })).rejects.toMatchObject({
    ...taken,
    place: { protocol: 'tcp', ...where },
  });
  leave();
  await (await reserveTcp({ ...where, own })).close();
});

it('a port that could not be had is given back', async () => {
  const own = new OwnListeners();
  await expect(reserveTcp({ ip: '192.0.2.1', port: 20_080, own })).rejects.toMatchObject({
    code: 'ADDRESS_NOT_AVAILABLE',
  });
  own.take({ ip: '0.0.0.0', port: 20_080 });
});
