import { describe, expect, it } from 'vitest';
import { BridgeError, type HostPlace } from '../../../../shared/errors.ts';
import type { Holder, PortDiagnosis } from '../../../../shared/ports/diagnosis/diagnosis.ts';
import { explain } from '../../../../shared/ports/diagnosis/explain.ts';
import { overlaps } from '../../../../shared/ports/diagnosis/overlap.ts';

const WANTED: HostPlace = { protocol: 'tcp', ip: '127.0.0.1', port: 80 };
const ALREADY = 'Bind for 127.0.0.1:80 failed: port is already allocated';
const taken = (place?: HostPlace) => new BridgeError('PORT_IN_USE', ALREADY, { place });
const denied = (place?: HostPlace) => new BridgeError('PERMISSION_DENIED', 'Bind … denied', { place });
const nginx = { pid: 7, command: 'nginx' };

const system = (holder: Holder | undefined, why?: string): PortDiagnosis => ({
  findHolder: async () => holder,
  whyDenied: async () => why,
});
const said = async (holder: Holder, wanted: HostPlace = WANTED): Promise<string> =>
  (await explain(taken(wanted), system(holder))).message.replace(`${ALREADY}: `, '');

describe('explain', () => {
  it('names who has the port', async () => {
    const user = undefined;
    expect(await said({ where: '127.0.0.1:80', process: nginx, user })).toBe(
      'nginx (process 7) has 127.0.0.1:80',
    );
    expect(await said({ where: '0.0.0.0:80', process: nginx, user })).toBe(
      'nginx (process 7) has 0.0.0.0:80, which includes 127.0.0.1:80',
    );
    const any: HostPlace = { protocol: 'tcp', ip: '0.0.0.0', port: 80 };
    expect(await said({ where: '127.0.0.1:80', process: nginx, user }, any)).toBe(
      'nginx (process 7) has 127.0.0.1:80, which 0.0.0.0:80 includes',
    );
    expect(await said({ where: '[::]:80', process: undefined, user: 33 })).toBe(
      'a process of the user with id 33 has [::]:80, which includes 127.0.0.1:80',
    );
    expect(await said({ where: '127.0.0.1:80', process: { ...nginx, pid: process.pid }, user })).toBe(
      'this process has 127.0.0.1:80',
    );
    expect(await said({ where: '/x', process: undefined, user }, { protocol: 'unix', path: '/x' })).toBe(
      'a process has /x',
    );
  });

  it('keeps code, errno and cause', async () => {
    const error = taken(WANTED);
    expect(await explain(error, system({ where: 'x', process: nginx, user: 0 }))).toMatchObject({
      code: 'PORT_IN_USE',
      errno: 98,
      place: WANTED,
      cause: error,
    });
  });

  it('says what would help where something was denied', async () => {
    const error = await explain(denied(WANTED), system(undefined, 'do this'));
    expect([error.code, error.message]).toEqual(['PERMISSION_DENIED', 'Bind … denied: do this']);
  });

  it('leaves alone what it knows nothing of', async () => {
    const somebody = system({ where: 'x', process: nginx, user: 0 }, 'no');
    const other = new BridgeError('IO', 'x', { place: WANTED });
    for (const error of [taken(), denied(), denied({ protocol: 'unix', path: '/x' }), other])
      expect(await explain(error, somebody)).toBe(error);
    const unknown = taken(WANTED);
    expect(await explain(unknown, system(undefined))).toBe(unknown);
  });

  it('is no reason to fail', async () => {
    const broken: PortDiagnosis = {
      findHolder: () => Promise.reject(new Error('no lsof')),
      whyDenied: () => Promise.reject(new Error('no')),
    };
    expect(await explain(taken(WANTED), broken)).toMatchObject({
      code: 'PORT_IN_USE',
      message: `${ALREADY}: why, the system did not say (no lsof)`,
    });
  });
});

describe('overlaps', () => {
  it.each([
    ['127.0.0.1', '127.0.0.1', true],
    ['127.0.0.1', '0.0.0.0', true],
    ['0.0.0.0', '127.0.0.1', true],
    ['::1', '::', true],
    ['127.0.0.1', '127.0.0.2', false],
    ['127.0.0.1', '::', true], // may be dual-stack
    ['::1', '0.0.0.0', false],
    ['::', '0.0.0.0', false],
    ['0.0.0.0', '::1', false],
  ])('%s and a held %s', (wanted, held, answer) => {
    expect(overlaps(wanted, held)).toBe(answer);
  });

  it('knows that our own :: is for IPv6 only', () => {
    expect(overlaps('0.0.0.0', '::', { ours: true })).toBe(false);
    expect(overlaps('::1', '::', { ours: true })).toBe(true);
  });
});
