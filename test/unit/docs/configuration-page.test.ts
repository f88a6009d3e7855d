import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { addHostCommands } from '../../../host-agent/main.ts';
import { HOST_SCHEMA } from '../../../host-agent/schema.ts';
import type { Schema } from '../../../shared/settings/schema.ts';
import { configurationPage } from '../../docs/configuration-page.ts';

describe('docs/configuration.md', () => {
  it('is what the schemas say: npm run docs writes it', () => {
    const page = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
    expect(page).toBe(configurationPage());
  });
});

describe('the configuration file', () => {
  /** Options that have another name in the file, or none. */
  const elsewhere: Record<string, string> = { config: '', 'unix-directory': 'unix-directories' };

  it('may say whatever the options of host-agent say', () => {
    const program = new Command();
    addHostCommands(program);
    const command = program.commands.find((each) => each.name() === 'host-agent')!;
    const options = command.options
      .filter(({ hidden }) => !hidden) // for tests
      .map(({ long }) => long!.slice(2))
      .map((name) => elsewhere[name] ?? name);
    const keys = keysOf(HOST_SCHEMA.keys);
    expect(options.length).toBeGreaterThan(8);
    expect(options.filter((name) => name !== '' && !keys.includes(name))).toEqual([]);
  });
});

function keysOf(keys: Schema['keys']): string[] {
  return Object.entries(keys).flatMap(([key, entry]) => {
    if (entry.kind === 'table') return keysOf(entry.keys);
    return entry.kind === 'named' ? keysOf(entry.each.keys) : [key];
  });
}
