#!/usr/bin/env node
/** The one executable. It only joins the commands of the two programs, which know nothing of each other. */
import { setFlagsFromString } from 'node:v8';
import { Command, CommanderError } from 'commander';
import { addHostCommands } from './host-agent/main.ts';
import { EXIT, reportError } from './shared/cli.ts';
import { VERSION } from './shared/version.ts';
import { addVmCommands } from './vm-shim/main.ts';

// Connections cost little JavaScript and much kernel: code that is compiled sooner is worth more than code that is compiled
// better (docs/decisions/0015-v8-inlines-less.md).
setFlagsFromString('--max-inlined-bytecode-size-cumulative=100');

const program = new Command('portferry')
  .description('Publishes ports of containers inside a virtual machine on the machine that runs it.')
  .version(VERSION)
  .exitOverride()
  // `vm-shim mount` has options of the same names as `vm-shim`.
  .enablePositionalOptions()
  .showHelpAfterError('(--help shows the options)');

addHostCommands(program);
addVmCommands(program);
for (const command of program.commands) command.version(VERSION);

try {
  await program.parseAsync();
} catch (error) {
  // commander has printed its own message; only help and version end well.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage;
  else process.exitCode = reportError(process.argv[2] ?? '', error);
}
