import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { textKey } from '../../../host-agent/data/linux/datagram-client.ts';
import { DatagramClients } from '../../../host-agent/data/linux/datagram-clients.ts';
import { encodePktinfo } from '../../../shared/platform/linux/datagrams/message-layout.ts';
import type { ReceiveBatch } from '../../../shared/platform/linux/datagrams/receive-batch.ts';
import { encodeSockaddr } from '../../../shared/platform/linux/sockaddr.ts';
import { flowKey } from '../../../shared/relay/udp-flows.ts';
import { FlowFrameDecoder } from '../../../shared/relay/udp-frame.ts';

/** A batch of one datagram: its sender's socket address, then the local address. */
function batchOf(sender: { ip: string; port: number }, local: Buffer | undefined): ReceiveBatch {
  const bytes = Buffer.alloc(48);
  encodeSockaddr({ family: 'ip', ...sender }).copy(bytes);
  local?.copy(bytes, 28);
  const words = new Uint32Array(Uint8Array.from(bytes).buffer);
  return { words, sender: () => 0, local: () => (local === undefined ? -1 : 7) } as unknown as ReceiveBatch;
}

const clock = () => {
  let now = 0;
  return {
    now: () => now,
    pass: (ms: number) => {
      now += ms;
    },
  };
};

describe('flows found by addresses as the kernel writes them', () => {
  const sender = fc.record({
    ip: fc.constantFrom('10.0.0.1', '10.0.0.2', '192.168.7.1'),
    port: fc.constantFrom(1, 2, 258, 65_535),
  });
  const local = fc.constantFrom(Buffer.of(10, 0, 0, 1), Buffer.of(10, 0, 0, 9));

  it('are one for each client and local address, and the idlest goes', () => {
    const datagram = fc.record({ sender, local });
    fc.assert(
      fc.property(fc.array(datagram, { maxLength: 60 }), (datagrams) => {
        const { now, pass } = clock();
        const gone: number[] = [];
        const clients = new DatagramClients({
          max: 5,
          bound: '',
          now,
          created: (idlest) => {
            if (idlest !== undefined) gone.push(idlest.flow);
          },
        });
        /** Keys in the order of their last use, with their flows. */
        const model = new Map<string, number>();
        const evicted: number[] = [];
        for (const each of datagrams) {
          pass(1);
          const { flow } = clients.find(batchOf(each.sender, each.local), 0);
          const key = flowKey(each.local.join('.'), each.sender.ip, each.sender.port);
          const known = model.get(key);
          if (known !== undefined) expect(flow).toBe(known);
          else if (model.size === 5) {
            const [idlest, its] = [...model][0]!;
            model.delete(idlest);
            evicted.push(its);
          }
          model.delete(key);
          model.set(key, flow);
          expect(new Set(model.values()).size).toBe(model.size);
        }
        expect(gone).toEqual(evicted);
        expect(clients.size).toBe(model.size);
        for (const flow of model.values()) expect(clients.byFlow(flow)?.flow).toBe(flow);
        for (const flow of evicted) expect(clients.byFlow(flow)).toBeUndefined();
      }),
    );
  });

  it('go after 90 s in which neither direction used them', () => {
    const { now, pass } = clock();
    const clients = new DatagramClients({ max: 5, bound: '', now, created() {} });
    const of = (port: number) => clients.find(batchOf({ ip: '10.0.0.1', port }, Buffer.of(10, 0, 0, 9)), 0);
    const [one, two, three] = [of(1), of(2), of(3)];
    pass(80_000);
    expect(of(1)).toBe(one);
    clients.byFlow(two.flow);
    pass(20_000);
    expect(clients.sweep()).toEqual([three]);
    clients.end(two.flow);
    expect(clients.size).toBe(1);
    expect(of(2).flow).not.toBe(two.flow);
  });
});

describe('a client', () => {
  const find = (bound: string, from: { ip: string; port: number }, local: Buffer | undefined) => {
    const clients = new DatagramClients({ max: 5, bound, now: () => 0, created() {} });
    return clients.find(batchOf(from, local), 0);
  };
  const addresses = (header: Buffer) => {
    const seen: unknown[] = [];
    const whole = Buffer.concat([header, Buffer.from('x')]);
    whole.writeUInt32LE(whole.length, 0);
    new FlowFrameDecoder().push(whole, (frame) => seen.push(frame.addresses));
    return seen;
  };

  it('of IPv4 is answered from the address that it wrote to', () => {
    const local = Buffer.of(10, 77, 0, 2);
    const client = find('', { ip: '10.77.0.1', port: 4_660 }, local);
    expect(client.name).toEqual(encodeSockaddr({ family: 'ip', ip: '10.77.0.1', port: 4_660 }));
    expect(client.control).toEqual(encodePktinfo(local));
    expect(addresses(client.header)).toEqual([
      {
        client: { ip: Buffer.of(10, 77, 0, 1), port: 4_660, zone: '' },
        local: { ip: local, port: 0, zone: '' },
      },
    ]);
    expect(textKey(client.words, '')).toBe(flowKey('10.77.0.2', '10.77.0.1', 4_660));
  });

  it('of IPv6 is, and of link-local addresses through its interface', () => {
    const local = Buffer.from('fe800000000000000000000000000002', 'hex');
    const client = find('', { ip: 'fe80::1%7', port: 9 }, Buffer.concat([local, Buffer.of(7, 0, 0, 0)]));
    expect(client.name).toEqual(encodeSockaddr({ family: 'ip', ip: 'fe80::1%7', port: 9 }));
    expect(client.control).toEqual(encodePktinfo(local, 7));
    const global = Buffer.from('fd770000000000000000000000000002', 'hex');
    const other = find('', { ip: 'fd77::1', port: 9 }, Buffer.concat([global, Buffer.of(7, 0, 0, 0)]));
    expect(other.control).toEqual(encodePktinfo(global));
    expect(textKey(other.words, '')).toBe(flowKey('fd77::2', 'fd77::1', 9));
  });

  it('of a socket with one address needs none said', () => {
    const client = find('127.0.0.1', { ip: '127.0.0.1', port: 5 }, undefined);
    expect(client.control).toHaveLength(0);
    expect(textKey(client.words, '127.0.0.1')).toBe(flowKey('127.0.0.1', '127.0.0.1', 5));
  });

  it('that wrote to a multicast address is answered from what the routes say', () => {
    const group = Buffer.from('ff020000000000000000000000000001', 'hex');
    expect(
      find('', { ip: 'fd77::1', port: 9 }, Buffer.concat([group, Buffer.alloc(4)])).control,
    ).toHaveLength(0);
  });
});
