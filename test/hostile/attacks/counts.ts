/** A VM that may have so many forwards, connections and flows, and wants more: it gets those, and others theirs. */
import { setTimeout as delay } from 'node:timers/promises';
import { unpack } from 'msgpackr';
import { COMMAND } from '../../../shared/mux/frame.ts';
import { callApi } from '../../helpers/api.ts';
import { hostPort, loopback, until } from '../../helpers/processes.ts';
import { connectTo } from '../../helpers/stream-client.ts';
import { type UdpPeer, udpPeer } from '../../helpers/udp-peer.ts';
import type { Attack } from '../attack.ts';
import { frame, RawLink, u32 } from '../raw-link.ts';
import { COUNTS, type Scene } from '../scene.ts';

const CLAIMS = 1_000;
const CLIENTS = 200;
const FLOWS = 150;
const ROW = 250;
/** Below the ports that systems give out by themselves, and that test:faults takes. */
const FIRST_PORT = 9_000;
/** Both engines want the same ports at once. */
const ADDRESSES = { portable: '127.0.0.1', linux: '127.0.0.2' } as const;
/** As docs/architecture.md has it. */
const MOST_PORTS = 8_192;
/** Through the API, for its link: they count as well. */
const EXPOSED = 2;

/** A forward can be made for the good VM now, and carries. */
async function othersGetTheirs(scene: Scene): Promise<void> {
  const port = await scene.expose('good', loopback('tcp', scene.exchange.port));
  const fault = await scene.exchange.whole(port, 1_000, 1_000).then(
    () => undefined,
    (error: Error) => error,
  );
  const { forwards } = (await callApi(scene.api, 'GET')).body as { forwards: { spec: string }[] };
  const { spec } = forwards.find((each) => hostPort(each.spec) === port)!;
  await callApi(scene.api, 'DELETE', { spec });
  if (fault !== undefined) throw new Error(`a new forward of another VM does not carry: ${fault.message}`);
}

export const COUNT_ATTACKS: readonly Attack[] = [
  {
    name: `${CLAIMS} claims of a VM that may have ${COUNTS.forwards} forwards`,
    run: async (scene) => {
      const link = await RawLink.up(scene.counted);
      const codes = new Map<string, number>();
      let answers = 0;
      link.onPiece = ({ kind, bytes }) => {
        if (kind !== 'claimed' && kind !== 'refused') return;
        answers++;
        const { code = kind } = unpack(bytes.subarray(bytes.readUInt16LE(0))) as { code?: string };
        codes.set(code, (codes.get(code) ?? 0) + 1);
      };
      for (let id = 1; id <= CLAIMS; id++)
        link.control({ type: 'claim', id, spec: 'tcp:127.0.0.1:0:tcp:127.0.0.1:9' });
      await until('the answers', () => answers === CLAIMS || link.ended);
      await othersGetTheirs(scene);
      const granted = codes.get('claimed');
      const denied = codes.get('POLICY_DENIED');
      link.close();
      const next = await RawLink.up(scene.counted);
      await until('its claims to be gone', async () => (await scene.claimed('counted')) === 0);
      next.close();
      if (granted !== COUNTS.forwards - EXPOSED || denied !== CLAIMS - granted)
        throw new Error(`answered by ${JSON.stringify([...codes])}`);
      return `${granted} granted beside ${EXPOSED}, ${denied} denied by the policy`;
    },
  },
  {
    name: `${CLIENTS} clients of a VM that may have ${COUNTS.connections} connections, and answers none`,
    run: async (scene) => {
      const link = await RawLink.up(scene.counted);
      const clients = await Promise.all(
        Array.from({ length: CLIENTS }, () => connectTo(scene.countedTcp).catch(() => undefined)),
      );
      await until('those past the count to be turned away', async () => {
        const { refused_by_limit: refused } = await scene.stats(scene.countedTcp);
        return refused! >= CLIENTS - COUNTS.connections;
      });
      await othersGetTheirs(scene);
      const carried = link.seen.filter(({ kind }) => kind === 'open').length;
      for (const client of clients) client?.destroy();
      link.close();
      await until('no connection to be left', async () => (await scene.stats(scene.countedTcp)).active === 0);
      if (carried !== COUNTS.connections) throw new Error(`it had ${carried}`);
      return `${carried} at once, the others were reset`;
    },
  },
  {
    name: `${FLOWS} UDP clients of a VM that may have ${COUNTS.flows} flows`,
    run: async (scene) => {
      const link = await RawLink.up(scene.counted);
      const clients: UdpPeer[] = [];
      for (let i = 0; i < FLOWS; i++) clients.push(await udpPeer());
      let most = 0;
      await until('flows to be given up', async () => {
        for (const client of clients) client.send(Buffer.from('flow'), scene.countedUdp);
        for (const { kind, bytes } of link.seen.splice(0))
          if (kind === 'open') link.send(frame(COMMAND.dialResult, bytes.readUInt32LE(3), u32(0)));
        await delay(50);
        const { flows, flows_created: made } = await scene.stats(scene.countedUdp);
        most = Math.max(most, flows!);
        return made! >= FLOWS;
      });
      await othersGetTheirs(scene);
      await Promise.all(clients.map((client) => client.close()));
      link.close();
      if (most > COUNTS.flows) throw new Error(`it had ${most}`);
      return `${most} at once, the idlest gave way`;
    },
  },
  {
    name: `claims of ${ROW} ports in a row, beyond the ${MOST_PORTS} that all VMs may have together`,
    run: async (scene) => {
      const link = await scene.link();
      let [claimed, refused] = [0, 0];
      link.onPiece = ({ kind }) => {
        if (kind === 'claimed') claimed++;
        if (kind === 'refused') refused++;
      };
      const ip = ADDRESSES[scene.engine];
      const rows = Math.ceil(MOST_PORTS / ROW) + 5;
      for (let id = 1; id <= rows; id++) {
        const ports = `${FIRST_PORT + id * ROW}-${FIRST_PORT + id * ROW + ROW - 1}`;
        link.control({ type: 'claim', id, spec: `tcp:${ip}:${ports}:tcp:127.0.0.1:${ports}` });
      }
      await until('the answers', () => claimed + refused === rows || link.ended, 150_000);
      const left = await scene.link();
      await until('its claims to be gone', async () => (await scene.claimed('evil')) === 0);
      left.close();
      if (claimed === 0 || claimed * ROW > MOST_PORTS) throw new Error(`${claimed} were granted`);
      await othersGetTheirs(scene);
      return `${claimed} of ${rows} granted, none left`;
    },
  },
];
