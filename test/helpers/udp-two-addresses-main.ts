import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { reserveUdp } from '../../shared/ports/reserve-udp.ts';

/**
 * Runs in a network namespace of its own: an interface with two addresses of a family, a reservation on all of them,
 * and clients on connected sockets, whose kernel drops an answer that comes from another address than they asked.
 * Writes one JSON object to stdout: what each asked address answered.
 */

const POLL_MS = 100;
const ANSWER_MS = 3_000;
const LOOPBACKS = ['127.0.0.1', '::1'];

const ip = (...args: string[]): void => {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
};

/** A dummy interface, or one end of a veth pair on kernels that have no dummy. */
function makeInterface(): string {
  ip('link', 'set', 'lo', 'up');
  try {
    ip('link', 'add', 'test0', 'type', 'dummy');
  } catch {
    ip('link', 'add', 'test0', 'type', 'veth', 'peer', 'name', 'test1');
    ip('link', 'set', 'test1', 'up');
  }
  ip('link', 'set', 'test0', 'up');
  return 'test0';
}

/**
 * Asks from another address than the one it asks: asked from the same, the kernel would answer from that one anyway.
 */
async function ask(address: string, port: number, waitMs = ANSWER_MS): Promise<string> {
  const client = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const deadline = AbortSignal.timeout(waitMs);
  try {
    if (!LOOPBACKS.includes(address)) client.bind(0, otherThan(address));
    client.connect(port, address);
    await once(client, 'connect', { signal: deadline });
    client.send('hello');
    const [answer] = await once(client, 'message', { signal: deadline });
    return String(answer);
  } catch (error) {
    return `no answer: ${(error as Error).name}`;
  } finally {
    client.close();
  }
}

function otherThan(address: string): string {
  const last = address.at(-1) === '1' ? '2' : '1';
  return `${address.slice(0, -1)}${last}`;
}

/** The same on one plain socket at 0.0.0.0, to show that this network tells right answers from wrong ones. */
async function askPlainSocket(): Promise<string> {
  const plain = createSocket('udp4');
  plain.on('message', (_payload, peer) => plain.send('wrong address', peer.port, peer.address));
  plain.bind(0, '0.0.0.0');
  await once(plain, 'listening');
  const answer = await ask('10.77.0.2', plain.address().port, 300);
  plain.close();
  return answer;
}

/** What each address answered, and which addresses the reservation saw go. */
type Answers = { [address: string]: string; gone?: string };

async function tryFamily(
  anyAddress: string,
  name: string,
  { first, later }: { first: readonly string[]; later: string },
): Promise<Answers> {
  const gone: string[] = [];
  const reservation = await reserveUdp({ ip: anyAddress, port: 0, pollMs: POLL_MS });
  reservation.start(
    (local, payload, peer) =>
      local.send(Buffer.from(`${payload} from ${local.address}`), peer.port, peer.address),
    (local) => gone.push(local.address),
  );
  const answers: Answers = {};
  for (const address of first) answers[address] = await ask(address, reservation.port);

  const nodad = later.includes(':') ? ['nodad'] : [];
  ip('addr', 'add', later, 'dev', name, ...nodad);
  const address = later.split('/')[0]!;
  const until = Date.now() + ANSWER_MS;
  while (!reservation.locals.some((local) => local.address === address) && Date.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS / 2));
  }
  answers[address] = await ask(address, reservation.port);

  ip('addr', 'del', later, 'dev', name);
  while (gone.length === 0 && Date.now() < until + ANSWER_MS) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS / 2));
  }
  answers.gone = gone.join(' ');
  await reservation.close();
  return answers;
}

const name = makeInterface();
ip('addr', 'add', '10.77.0.1/24', 'dev', name);
ip('addr', 'add', '10.77.0.2/24', 'dev', name);
ip('addr', 'add', 'fd77::1/64', 'dev', name, 'nodad');
ip('addr', 'add', 'fd77::2/64', 'dev', name, 'nodad');
const four = await tryFamily('0.0.0.0', name, {
  first: ['127.0.0.1', '10.77.0.1', '10.77.0.2'],
  later: '10.77.0.3/24',
});
const six = await tryFamily('::', name, { first: ['::1', 'fd77::1', 'fd77::2'], later: 'fd77::3/64' });
process.stdout.write(JSON.stringify({ four, six, plain: await askPlainSocket() }));
