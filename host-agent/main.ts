import { type Command, Option } from 'commander';
import {
  apiOption,
  apiPath,
  configOption,
  engineOption,
  givenOptions,
  heartbeatOption,
  logLevelOption,
  once,
  PIPE,
  repeat,
  untilSignalled,
  workersOption,
} from '../shared/cli.ts';
import { BridgeError } from '../shared/errors.ts';
import { formatSpec } from '../shared/port-spec.ts';
import { parseCommandLineSpec } from '../shared/port-spec-short.ts';
import { formatReverseSpec, isReverse, parseCommandLineReverse } from '../shared/reverse-spec.ts';
import { LANES } from '../shared/transport/choose.ts';
import { ApiClient } from './client/api-client.ts';
import { formatList } from './client/format-list.ts';

const SPEC =
  'tcp:0.0.0.0:8080:tcp:172.17.0.2:80, or in short [ip[,ip]:][port:]containerPort[/tcp|/udp]; ports may be ranges';

const REVERSE =
  'the spec is tcp:127.0.0.1:5432@vm:5432: a service of the host (also unix:/path), and where it is published in the VM ([address:]port or /path)';

interface SpecOptions {
  readonly to: string;
  readonly vm?: string;
  readonly reverse?: boolean;
  readonly api?: string;
}

/** The full notation of what the command line says, and the VM that it is for. */
function readSpec(text: string, { to, vm, reverse }: SpecOptions): { spec: string; vm: string | undefined } {
  if (reverse !== true && !isReverse(text))
    return { spec: formatSpec(parseCommandLineSpec(text, { to })), vm };
  const read = parseCommandLineReverse(text);
  if (vm !== undefined && read.vm !== undefined && vm !== read.vm)
    throw new BridgeError('BAD_REQUEST', `--vm ${vm} and @${read.vm} are two VMs`);
  return { spec: formatReverseSpec(read.spec), vm: vm ?? read.vm };
}

/** Adds the commands of the host's side to the program. */
export function addHostCommands(program: Command): void {
  program
    .command('host-agent')
    .description('run the host side: open the ports and carry their connections to the VM')
    .option('--connect <[name=]url>', 'dial the VM shim there; may repeat, with a name for each VM', repeat)
    .option('--listen <[name=]url>', 'VM shims dial us there; may repeat', repeat)
    .option('--control <[name=]url>', 'serve the 9P control filesystem of a VM there; may repeat', repeat)
    .option(
      '--api <path>',
      `serve the HTTP API on this unix socket, for expose, unexpose and list (${PIPE})`,
      once,
    )
    .addOption(
      new Option(
        '--state <path>',
        'keep forwards made through the API in this file, and publish them again at start',
      )
        .env('PORTFERRY_STATE')
        .argParser(once),
    )
    .option('--grace <seconds>', 'how long what a VM shim claimed outlives its link (default: 30)', once)
    .option(
      '--wildcard-privileged',
      'where one address is denied (macOS, ports below 1024): listen at all, and reset clients of the others',
    )
    .addOption(new Option('--wildcard-below <port>').hideHelp())
    .option(
      '--peer-cid <[name=]cids>',
      'who may connect to --listen and --control over vsock: CID[,CID...] or any; may repeat (default: VMs, CIDs from 3 on)',
      repeat,
    )
    .option(
      '--token-file <[name=]path>',
      'the VM has to prove that it has the token in this file, and we prove it too; may repeat',
      repeat,
    )
    .option(
      '--port-range <from-to>',
      'host ports for requests that leave the choice to us (default: 49153-65535)',
      once,
    )
    .option('--legacy-peer', 'also accept a vpnkit peer, which sends no hello of ours')
    .addOption(new Option('--lane <lane>', 'how connections travel').choices([...LANES]).default('auto'))
    .addOption(engineOption())
    .addOption(workersOption())
    .option(
      '--unix-directory <dir>',
      'unix sockets may be published in this directory and below; may repeat (default: nowhere)',
      repeat,
    )
    .option(
      '--allow-reverse <destination>',
      'expose --reverse may publish this in the VM: CIDR[:PORTS] or unix:DIR of the host; may repeat (default: nothing)',
      repeat,
    )
    .addOption(configOption())
    .addOption(heartbeatOption())
    .addOption(logLevelOption())
    .action(async (_options: object, command: Command) => {
      const signalled = untilSignalled();
      // Loaded here, since the other commands are short and need none of it.
      const { runHostAgent } = await import('./run-agent.ts');
      await runHostAgent(givenOptions(command), signalled);
    });

  program
    .command('expose')
    .description('publish a port through the API of the host agent; prints the resolved spec')
    .argument('<spec>', SPEC)
    .option('--to <address>', 'for the short form: the address in the VM', '127.0.0.1')
    .option('--vm <name>', 'the VM, where the host agent has several', once)
    .option('--reverse', REVERSE)
    .addOption(apiOption())
    .action(async (text: string, options: SpecOptions) => {
      const { spec, vm } = readSpec(text, options);
      const forward = await new ApiClient(apiPath(options.api)).expose(spec, vm);
      process.stdout.write(`${forward.spec}\n`);
    });

  program
    .command('unexpose')
    .description('remove a published port; prints what was removed')
    .argument('<spec>', SPEC)
    .option('--to <address>', 'for the short form: the address in the VM', '127.0.0.1')
    .option('--vm <name>', 'only of this VM', once)
    .option('--now', 'end its running connections too; else they finish')
    .option('--reverse', REVERSE)
    .addOption(apiOption())
    .action(async (text: string, options: SpecOptions & { now?: boolean }) => {
      const { spec, vm } = readSpec(text, options);
      const { forwards } = await new ApiClient(apiPath(options.api)).unexpose(spec, vm, options.now ?? false);
      for (const forward of forwards) process.stdout.write(`${forward.spec}\n`);
    });

  program
    .command('token')
    .description('write a new random token for --token-file of both sides; the file gets mode 0600')
    .argument('<file>', 'a new file')
    .action(async (file: string) => {
      const { writeNewToken } = await import('../shared/link/token-file.ts');
      await writeNewToken(file);
      process.stdout.write(`${file}\n`);
    });

  program
    .command('list')
    .description('show what is published')
    .option('--json', 'as JSON, with all counters')
    .addOption(apiOption())
    .action(async (options: { json?: boolean; api?: string }) => {
      const list = await new ApiClient(apiPath(options.api)).list();
      process.stdout.write(options.json === true ? `${JSON.stringify(list, null, 2)}\n` : formatList(list));
    });
}
