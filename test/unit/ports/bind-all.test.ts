import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { BridgeError } from '../../../shared/errors.ts';
import { formatEndpoint } from '../../../shared/ip.ts';
import { formatSpec, type InetSpec, parseSpec } from '../../../shared/port-spec.ts';
import { PortAllocator } from '../../../shared/ports/allocator.ts';
import { bindAll } from '../../../shared/ports/bind-all.ts';
import type { Endpoint } from '../../../shared/ports/endpoints.ts';
import { OtherListeners } from '../../../shared/ports/other-listeners.ts';

const spec = (text: string) => parseSpec(text) as InetSpec;

/** A machine whose ports are a set; others take some of them. */
class Machine {
  readonly bound = new Set<string>();
  readonly tried: string[] = [];
  /** Another process is faster so often, at the address that comes second. */
  lost = 0;

  readonly bind = async ({ ip, port }: Endpoint) => {
    await Promise.resolve();
    const name = formatEndpoint(ip, port);
    this.tried.push(name);
    const late = ip === '::1' && this.lost-- > 0;
    if (late || this.bound.has(name))
      throw new BridgeError('PORT_IN_USE', `Bind for ${name} failed: port is already allocated`);
    this.bound.add(name);
    return {
      name,
      release: async () => {
        await Promise.resolve();
        this.bound.delete(name);
      },
    };
  };
}

let machine: Machine;
let allocator: PortAllocator;
beforeEach(() => {
  machine = new Machine();
  allocator = new PortAllocator({ first: 50_000, last: 50_019 }, 0);
});

const bind = async (text: string, others?: OtherListeners) => {
  const { resolved, ports } = await bindAll(spec(text), allocator, machine.bind, others);
  return { resolved: formatSpec(resolved), ports };
};

describe('bindAll', () => {
  it('takes each port of a range at each address, and says what leads where', async () => {
    const text = 'tcp:127.0.0.1,[::1]:8000-8001:tcp:10.0.0.1:90-91';
    const { resolved, ports } = await bind(text);
    expect(resolved).toBe(text);
    const ends = ports.map(({ endpoint: { ip, port, vmPort }, bound }) => [
      bound.name,
      formatEndpoint(ip, port),
      vmPort,
    ]);
    expect(ends).toEqual([
      ['127.0.0.1:8000', '127.0.0.1:8000', 90],
      ['[::1]:8000', '[::1]:8000', 90],
      ['127.0.0.1:8001', '127.0.0.1:8001', 91],
      ['[::1]:8001', '[::1]:8001', 91],
    ]);
  });

  it('takes none when one in the middle is taken, names it, and does not try again', async () => {
    machine.bound.add('127.0.0.1:8042');
    await expect(bind('tcp:127.0.0.1:8000-8099:tcp:10.0.0.1:8000-8099')).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: 'Bind for 127.0.0.1:8042 failed: port is already allocated',
    });
    expect([...machine.bound]).toEqual(['127.0.0.1:8042']);
    expect(machine.tried.length).toBe(43);
  });

  it('port 0 is the same at all addresses, and another one while others are faster', async () => {
    machine.lost = 9;
    const { resolved } = await bind('tcp:127.0.0.1,[::1]:0:tcp:10.0.0.1:80');
    expect(resolved).toBe('tcp:127.0.0.1,[::1]:50009:tcp:10.0.0.1:80');
    expect([...machine.bound]).toEqual(['127.0.0.1:50009', '[::1]:50009']);
    machine.lost = 1_000;
    await expect(bind('tcp:127.0.0.1,[::1]:0:tcp:10.0.0.1:80')).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: 'Bind for 127.0.0.1,[::1]:0 failed: no port is free in 50000-50019',
    });
    expect(machine.bound.size).toBe(2);
  });

  it('an explicit port is tried once, however often others are faster', async () => {
    machine.lost = 1;
    await expect(bind('tcp:127.0.0.1,[::1]:80:tcp:10.0.0.1:80')).rejects.toMatchObject({
      message: 'Bind for [::1]:80 failed: port is already allocated',
    });
    expect(machine.tried).toEqual(['127.0.0.1:80', '[::1]:80']);
    expect(machine.bound.size).toBe(0);
  });

  it('of a range that leads to one port it takes the first that is free', async () => {
    machine.bound.add('127.0.0.1:8000').add('[::1]:8001');
    const { resolved } = await bind('udp:127.0.0.1,[::1]:8000-8010:udp:10.0.0.1:53');
    expect(resolved).toBe('udp:127.0.0.1,[::1]:8002:udp:10.0.0.1:53');
    for (let port = 8003; port <= 8010; port++) machine.bound.add(`127.0.0.1:${port}`);
    await expect(bind('udp:127.0.0.1,[::1]:8000-8010:udp:10.0.0.1:53')).rejects.toMatchObject({
      message: 'Bind for 127.0.0.1,[::1]:8000-8010 failed: no port is free in 8000-8010',
    });
  });

  it('free ports in a row are found for a range', async () => {
    machine.bound.add('127.0.0.1:50003').add('[::1]:50010');
    const { resolved } = await bind('tcp:127.0.0.1,[::1]:0:tcp:10.0.0.1:80-84');
    expect(resolved).toBe('tcp:127.0.0.1,[::1]:50004-50008:tcp:10.0.0.1:80-84');
  });

  it('binds nothing where others have a port that the system would give all the same', async () => {
    const others = new OtherListeners([
      { ip: '0.0.0.0', port: 8_999, pid: 1 },
      { ip: '::1', port: 8_900, pid: 1 },
    ]);
    await expect(bind('tcp:127.0.0.1:8000-8999:tcp:10.0.0.1:8000-8999', others)).rejects.toMatchObject({
      code: 'PORT_IN_USE',
      message: 'Bind for 127.0.0.1:8999 failed: port is already allocated',
      place: { protocol: 'tcp', ip: '127.0.0.1', port: 8_999 },
    });
    await expect(bind('tcp:127.0.0.1,[::]:8900:tcp:10.0.0.1:80', others)).rejects.toMatchObject({
      message: 'Bind for [::]:8900 failed: port is already allocated',
    });
    expect(machine.tried).toEqual([]);
    const { resolved } = await bind('tcp:127.0.0.1:8999-9001:tcp:10.0.0.1:80', others);
    expect(resolved).toBe('tcp:127.0.0.1:9000:tcp:10.0.0.1:80');
    expect(machine.tried).toEqual(['127.0.0.1:9000']);
  });

  it('takes all or nothing, whatever others have', async () => {
    const names = [50_000, 50_001, 50_002, 50_003].flatMap((port) => [`127.0.0.1:${port}`, `[::1]:${port}`]);
    const requests = [
      '127.0.0.1,[::1]:0:tcp:10.0.0.1:80',
      '127.0.0.1,[::1]:0:tcp:10.0.0.1:80-81',
      '127.0.0.1:50000-50003:tcp:10.0.0.1:1-4',
      '127.0.0.1,[::1]:50000-50003:tcp:10.0.0.1:80',
    ];
    await fc.assert(
      fc.asyncProperty(fc.subarray(names), fc.constantFrom(...requests), async (others, request) => {
        const wanted = spec(`tcp:${request}`);
        const busy = new Machine();
        for (const name of others) busy.bound.add(name);
        const small = new PortAllocator({ first: 50_000, last: 50_003 });
        const done = await bindAll(wanted, small, busy.bind).catch(() => undefined);
        const expected = new Set(others);
        for (const { endpoint } of done?.ports ?? []) {
          const name = formatEndpoint(endpoint.ip, endpoint.port);
          expect(expected.has(name)).toBe(false);
          expected.add(name);
        }
        expect(busy.bound).toEqual(expected);
        if (done === undefined) return;
        const count = wanted.vmPorts.last - wanted.vmPorts.first + 1;
        expect(done.ports.length).toBe(wanted.hostIps.length * count);
      }),
    );
  });
});
