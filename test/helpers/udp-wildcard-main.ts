import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { loopback, Pair } from './processes.ts';
import { ask, makeInterface } from './two-addresses.ts';

/**
 * Runs in a network namespace of its own: a host agent and a VM shim with the engine and lane that the arguments name,
 * forwards at 0.0.0.0 and ::, and clients on connected sockets, whose kernel drops an answer that comes from another
 * address than they asked. Writes one JSON object to stdout: what each asked address answered.
 */

const [engine, lane] = process.argv.slice(2) as ['portable' | 'linux', 'dedicated' | 'multiplexed'];

async function tryFamily(anyAddress: string, asked: readonly string[]): Promise<Record<string, string>> {
  const { port } = await pair.expose(
    loopback('udp', container.address().port).replace('127.0.0.1', anyAddress),
  );
  const answers: Record<string, string> = {};
  for (const address of asked) answers[address] = await ask(address, port);
  return answers;
}

makeInterface();
const container = createSocket('udp4');
container.on('message', (payload, peer) => container.send(`${payload} back`, peer.port, peer.address));
container.bind(0, '127.0.0.1');
await once(container, 'listening');
const pair = await Pair.start(lane, engine);
const answers = {
  four: await tryFamily('0.0.0.0', ['127.0.0.1', '10.77.0.1', '10.77.0.2']),
  six: await tryFamily('[::]', ['::1', 'fd77::1', 'fd77::2']),
};
process.stdout.write(JSON.stringify(answers));
await pair.close();
container.close();
