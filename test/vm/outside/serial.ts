/** Group `serial`: the host agent on this machine, the VM shim in a guest, joined by a virtio-serial port. */
import { setTimeout as delay } from 'node:timers/promises';
import { hostPort, loopback, unixSpec, until } from '../../helpers/processes.ts';
import { connectTo, fateOf, readExactly, refuses, roundTrip } from '../../helpers/stream-client.ts';
import { digestOf } from '../../helpers/test-bytes.ts';
import { carryCases } from '../carry-cases.ts';
import { type Cases, matches, same, WAIT_MS } from '../cases.ts';
import type { Containers } from '../guest/containers.ts';
import { hold, SEEN_SOCKET, startContainers } from './guest-programs.ts';
import { SerialPair } from './serial-pair.ts';
import type { Vm } from './vm.ts';

/** What the emulated processor carries in some seconds. */
const BULK = { seed: 8, bytes: 50_000_000 };
/** How long an idle shim is watched, milliseconds. */
const IDLE_MS = 2_000;
const ENDED = /the other side of the serial port has ended the session$/;
/** For cases that start shims, or boot, milliseconds. */
const LONG_MS = 250_000;

export async function run(cases: Cases, vm: Vm): Promise<void> {
  const pair = new SerialPair(vm);
  const failed = cases.failed;
  try {
    if (await cases.case('the shim waits while nobody is at the other end, and sleeps', () => alone(pair))) {
      await cases.case('a host agent comes: the link is up on the same descriptor', async () => {
        pair.startHost();
        await pair.linked();
      });
      const containers = await startContainers(pair);
      await carry(cases, pair, containers);
      await shims(cases, pair, containers);
      await claims(cases, pair, containers);
      await reboot(cases, pair);
    }
  } finally {
    if (cases.failed > failed) await pair.tell();
    await pair.close();
  }
}

/** A loop that spins never comes to rest. */
async function alone(pair: SerialPair): Promise<void> {
  await pair.startShim();
  await until(
    'the shim to sleep',
    async () => {
      const before = await pair.shimSeconds();
      await delay(IDLE_MS);
      return ((await pair.shimSeconds()) - before) * 1000 < IDLE_MS / 4;
    },
    WAIT_MS,
  );
}

async function carry(cases: Cases, pair: SerialPair, containers: Containers): Promise<void> {
  const seenSocket = `${pair.folder}/seen.sock`;
  await pair.expose(unixSpec(seenSocket, SEEN_SOCKET));
  const bulk = { ...BULK, digest: digestOf(BULK.seed, BULK.bytes) };
  await carryCases(cases, 'from outside', pair, { containers, seenSocket, folder: pair.folder, bulk });
}

/** The shim was killed; what was made through the API is there still. */
async function shims(cases: Cases, pair: SerialPair, containers: Containers): Promise<void> {
  await cases.case('a new shim: forwards made through the API work again', async () => {
    const port = await pair.tcp(containers.echo);
    await pair.startShim();
    await pair.linked();
    same(await roundTrip(port, 'again'), 'again', 'the echo');
  });

  await cases.case(
    'a shim that is stopped tells the host agent, in the middle of a transfer too',
    async () => {
      const port = await pair.tcp(containers.echo);
      for (const busy of [false, true]) {
        const client = await connectTo(port);
        const fate = fateOf(client);
        if (busy) {
          client.write(Buffer.alloc(4_000_000, 'x'));
          await until('the transfer to be going on', () => client.bytesRead > 100_000, WAIT_MS);
        }
        const before = pair.downs.length;
        await pair.endShim('TERM');
        same((await fate).how, 'ECONNRESET', 'the fate of the client');
        const downs = await until(
          'the link to be down',
          () => pair.downs.length > before && pair.downs,
          WAIT_MS,
        );
        matches(downs.at(-1)!, ENDED, 'why the link is down');
        await pair.startShim();
        await pair.linked();
      }
    },
    LONG_MS,
  );
}

async function claims(cases: Cases, pair: SerialPair, containers: Containers): Promise<void> {
  const { shell } = pair;
  const spec = loopback('tcp', containers.echo);
  let claimed = '';
  let holder = '';
  const held = await cases.case("a claimer in the guest holds ctl in the shim's mounted tree", async () => {
    await pair.mount();
    ({ claimed, holder } = await hold(pair, 'held', spec));
    same(await roundTrip(hostPort(claimed), 'claimed'), 'claimed', 'the echo');
  });
  if (!held) return;

  await cases.case('the host agent is killed and started again: the forward is back by itself', async () => {
    const client = await connectTo(hostPort(claimed));
    client.write(Buffer.alloc(4_000_000, 'x'));
    await readExactly(client, 1_000); // so that it is killed between frames, or within one
    const fate = fateOf(client);
    await pair.host.kill('SIGKILL');
    same((await fate).how, 'ECONNRESET', 'the fate of a client');
    same(await refuses(hostPort(claimed)), true, 'the port refuses');
    pair.startHost();
    await pair.linked();
    await until('the forward to be back', async () => (await pair.published()).includes(claimed), WAIT_MS);
    same(await roundTrip(hostPort(claimed), 'back'), 'back', 'the echo');
    await shell.must(`kill -0 ${holder}`);
    same(await shell.must('cat /port/held/ctl'), `OK ${claimed}`, 'what ctl says');
  });

  await cases.case('the claimer is killed: the forward is gone', async () => {
    await shell.must(`kill -KILL ${holder}`);
    await until('the port to refuse', () => refuses(hostPort(claimed)), WAIT_MS);
    same(await pair.published(), [], 'what is published');
    await shell.must('until umount /port; do sleep 0.2; done'); // the kernel lets go of what was open a little later
  });
}

/** Of a server whose port is the same after a reboot. */
const SERVE = 'node dist/test/vm/guest/hello-container.js';

async function reboot(cases: Cases, pair: SerialPair): Promise<void> {
  await cases.case(
    'the guest reboots: its claims end with the hello of the new shim, the API forwards go on',
    async () => {
      await pair.startInGuest(SERVE, '/tmp/hello.log');
      const port = await pair.tcp(80);
      await pair.mount();
      const { claimed } = await hold(pair, 'held', loopback('tcp', 80));
      for (const each of [port, hostPort(claimed)]) await answers(each);
      await pair.reboot();
      await pair.startInGuest(SERVE, '/tmp/hello.log');
      await pair.startShim();
      // A link that is up has no grace period: it is the hello of another shim that ends them.
      await until('the claim to be gone', async () => !(await pair.published()).includes(claimed), WAIT_MS);
      await until('its port to refuse', () => refuses(hostPort(claimed)), WAIT_MS);
      await pair.linked();
      await answers(port);
    },
    LONG_MS,
  );
}

function answers(port: number): Promise<true> {
  const look = async () =>
    (await fetch(`http://127.0.0.1:${port}/`).then(
      (it) => it.ok,
      () => false,
    )) || undefined;
  return until(`port ${port} to be served`, look, WAIT_MS) as Promise<true>;
}
