import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { reserveUdp } from '../../shared/ports/reserve-udp.ts';
import { ask, ip, makeInterface } from './two-addresses.ts';

/**
 * Runs in a network namespace of its own: an interface with two addresses of a family, a reservation on all of them,
 * and clients on connected sockets, whose kernel drops an answer that comes from another address than they asked.
 * Writes one JSON object to stdout: what each asked address answered.
 */

const POLL_MS = 100;
const ANSWER_MS = 20_000;

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
const four = await tryFamily('0.0.0.0', name, {
  first: ['127.0.0.1', '10.77.0.1', '10.77.0.2'],
  later: '10.77.0.3/24',
});
const six = await tryFamily('::', name, { first: ['::1', 'fd77::1', 'fd77::2'], later: 'fd77::3/64' });
process.stdout.write(JSON.stringify({ four, six, plain: await askPlainSocket() }));
