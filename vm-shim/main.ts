import { resolve } from 'node:path';
import type { Command } from 'commander';
import {
  configOption,
  engineOption,
  givenOptions,
  heartbeatOption,
  logLevelOption,
  once,
  repeat,
  untilSignalled,
  workersOption,
} from '../shared/cli.ts';
import { BridgeError, messageOf } from '../shared/errors.ts';
import { parseCommandLineSpec } from '../shared/port-spec-short.ts';
import type { ClaimedPort } from '../shared/portfs/claim-port.ts';
import { parseDialAddress, type TransportAddress } from '../shared/transport/address.ts';
import type { Bridge } from '../shared/transport/bridge.ts';
import { bridgeFor } from '../shared/transport/choose.ts';
import { dial } from '../shared/transport/dial.ts';
import { parsePortFs } from './addresses.ts';

/** Where the documentation says to serve the control filesystem. */
const DEFAULT_PORT_FS = 'unix:///run/portferry.sock';
const DIAL_MS = 5_000;

/** Adds the commands of the VM's side to the program. */
export function addVmCommands(program: Command): void {
  const shim = program
    .command('vm-shim')
    .description('run the VM side: dial containers for the connections of the host agent')
    .option('--listen <url>', 'the host agent dials us there', once)
    .option('--connect <url>', 'dial the host agent there', once)
    .option('--port-fs <url>', 'serve the control filesystem there, on a unix socket', once)
    .option(
      '--gateway-api <ip:port>',
      "serve gvproxy's API there, for podman; containers that reach it can open host ports",
      once,
    )
    .option(
      '--peer-cid <cids>',
      'who may connect over vsock: CID[,CID...] or any (default: 2, the host)',
      once,
    )
    .option(
      '--token-file <path>',
      'the host agent has to prove that it has the token in this file, and we prove it too',
      once,
    )
    .option(
      '--allow-destination <destination>',
      'what the host may dial here: CIDR[:PORTS] or unix:DIR; may repeat (default: everything)',
      repeat,
    )
    .option('--legacy-peer', 'also accept a vpnkit host, which sends no hello of ours')
    .addOption(engineOption())
    .addOption(workersOption())
    .addOption(configOption())
    .addOption(heartbeatOption())
    .addOption(logLevelOption())
    .enablePositionalOptions()
    .action(async (_options: object, command: Command) => {
      const signalled = untilSignalled();
      // Loaded here, as what other commands need is there: each runs alone, and should start fast.
      const { runShim } = await import('./run-shim.ts');
      await runShim(givenOptions(command), signalled);
    });

  shim
    .command('mount')
    .description('mount the control filesystem of a VM shim that runs here, with the 9P client of Linux')
    .argument('[directory]', 'where', '/port')
    .option('--port-fs <url>', 'where the VM shim serves it', DEFAULT_PORT_FS)
    .action(runMount);

  program
    .command('claim')
    .description('publish a port from the VM through the control filesystem, until this command ends')
    .argument(
      '<spec>',
      'tcp:0.0.0.0:8080:tcp:172.17.0.2:80, or in short [ip[,ip]:][port:]containerPort[/tcp|/udp]; ports may be ranges',
    )
    .requiredOption('--control <url>', 'where the 9P control filesystem is served', once)
    .option('--to <address>', 'for the short form: the address in the VM', '127.0.0.1')
    .action(runClaim);
}

async function runMount(directory: string, options: { portFs: string }): Promise<void> {
  const address = parsePortFs(options.portFs);
  const { checkSystem } = await import('./mount/choose.ts');
  checkSystem();
  try {
    (await dial(address, AbortSignal.timeout(DIAL_MS))).destroy();
  } catch (error) {
    const code = error instanceof BridgeError ? error.code : 'IO';
    const said = `no control filesystem to mount: ${messageOf(error)}; portferry vm-shim --port-fs serves it`;
    throw new BridgeError(code, said, { cause: error });
  }
  const { mountPortFs } = await import('./mount/mount-port-fs.ts');
  const { thisMachine } = await import('./mount/machine.ts');
  const point = resolve(directory);
  const done = await mountPortFs(point, address.path, thisMachine);
  process.stdout.write(`${point} ${done === 'already' ? 'is mounted already' : 'is mounted'}\n`);
}

async function runClaim(text: string, options: { control: string; to: string }): Promise<void> {
  const spec = parseCommandLineSpec(text, { to: options.to });
  const control = parseDialAddress(options.control);
  const giveUp = new AbortController();
  const signalled = untilSignalled();
  void signalled.then(() => giveUp.abort());
  const { claim } = await import('./control/claim.ts');
  const bridge = control.scheme === 'vsock' ? await bridgeTo(control) : undefined;
  try {
    await holdClaim(await claim(spec, control, giveUp.signal, bridge), signalled);
  } finally {
    await bridge?.close();
  }
}

/** The logger takes longer to load than a claim takes to make. */
async function bridgeTo(control: TransportAddress): Promise<Bridge | undefined> {
  const { silentLogger } = await import('../shared/logger.ts');
  return bridgeFor([control], silentLogger());
}

async function holdClaim(claimed: ClaimedPort, signalled: Promise<unknown>): Promise<void> {
  process.stdout.write(`${claimed.resolved}\n`);
  const ended = await Promise.race([claimed.closed, signalled]);
  if (ended instanceof BridgeError)
    throw new BridgeError(ended.code, `${claimed.resolved} is no longer published: ${ended.message}`);
  await claimed.release();
}
