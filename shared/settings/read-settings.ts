import { readFileSync } from 'node:fs';
import { parse, TomlError } from 'smol-toml';
import { BridgeError, messageOf } from '../errors.ts';
import { fileError } from '../file-error.ts';
import { KeyLines } from './key-lines.ts';
import { nearest } from './nearest.ts';
import type { NamedTables, Schema, SettingEntry, SettingTable, SettingValue } from './schema.ts';
import { type Said, Settings, settingKey } from './settings.ts';

/** Most bytes of a configuration file. */
const MAX_BYTES = 1024 * 1024;

type Value = unknown;
type Keys = Readonly<Record<string, SettingEntry | SettingTable | NamedTables>>;

/** Reads a TOML file. @throws BridgeError BAD_REQUEST that names the file, the line and the key; NOT_FOUND, PERMISSION_DENIED, IO */
export function readSettings(file: string, schema: Schema): Settings {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw fileError(error, `cannot read the configuration ${file}`);
  }
  return parseSettings(text, file, schema);
}

/** The same of a text. @param file for messages */
export function parseSettings(text: string, file: string, schema: Schema): Settings {
  if (Buffer.byteLength(text) > MAX_BYTES)
    throw new BridgeError('BAD_REQUEST', `${file} has more than ${MAX_BYTES} bytes`);
  let value: Value;
  try {
    value = parse(text, { maxDepth: 16 });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [why] = error.message.split('\n');
    throw new BridgeError('BAD_REQUEST', `${file}:${error.line}:${error.column}: ${why}`, { cause: error });
  }
  const reader = new Reader(file, new KeyLines(text));
  reader.table(value as Record<string, Value>, schema.keys, []);
  return new Settings(reader.said);
}

class Reader {
  readonly said = new Map<string, Said>();
  private readonly file: string;
  private readonly lines: KeyLines;

  constructor(file: string, lines: KeyLines) {
    this.file = file;
    this.lines = lines;
  }

  table(value: Record<string, Value>, keys: Keys, path: readonly string[]): void {
    for (const [key, each] of Object.entries(value)) {
      const here = [...path, key];
      const known = Object.hasOwn(keys, key) ? keys[key] : undefined;
      if (known === undefined) this.unknown(here, Object.keys(keys));
      else if (known.kind === 'named') this.named(this.asTable(each, here), known, here);
      else if (known.kind === 'table') this.table(this.asTable(each, here), known.keys, here);
      else this.put(here, this.setting(each, known, here));
    }
  }

  private named(value: Record<string, Value>, { name, each }: NamedTables, path: readonly string[]): void {
    for (const [key, one] of Object.entries(value)) {
      const here = [...path, key];
      if (!name.test(key))
        this.fail(here, `${JSON.stringify(key)} is no name: it has to match ${name.source}`);
      this.table(this.asTable(one, here), each.keys, here);
      this.put(here, key);
    }
    this.put(path, Object.keys(value));
  }

  private setting(value: Value, setting: SettingEntry, path: readonly string[]): SettingValue {
    switch (setting.kind) {
      case 'flag':
        if (typeof value !== 'boolean') this.fail(path, `it is true or false, not ${show(value)}`);
        return value;
      case 'number': {
        const { min, max } = setting;
        if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max)
          this.fail(path, `it is a whole number from ${min} to ${max}, not ${show(value)}`);
        return value;
      }
      case 'seconds': {
        const { min, max } = setting;
        if (typeof value !== 'number' || !isMilliseconds(value) || value < min || value > max)
          this.fail(
            path,
            `it is a number of seconds from ${min} to ${max} with at most 3 decimals, not ${show(value)}`,
          );
        return value;
      }
      case 'text':
        if (typeof value !== 'string') this.fail(path, `it is a text, not ${show(value)}`);
        if (setting.choices?.includes(value) === false)
          this.fail(path, `it is one of ${setting.choices.join(', ')}, not ${show(value)}`);
        this.check(value, setting.check, path);
        return value;
      case 'texts': {
        const list: Value[] = Array.isArray(value) ? value : [value];
        if (!list.every((each) => typeof each === 'string'))
          this.fail(path, `it is a list of texts, not ${show(value)}`);
        for (const each of list) this.check(each, setting.check, path);
        return list;
      }
    }
  }

  private check(text: string, check: ((text: string) => void) | undefined, path: readonly string[]): void {
    try {
      check?.(text);
    } catch (error) {
      this.fail(path, messageOf(error));
    }
  }

  private asTable(value: Value, path: readonly string[]): Record<string, Value> {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date)
      this.fail(path, `it is a table, not ${show(value)}`);
    return value as Record<string, Value>;
  }

  private put(path: readonly string[], value: SettingValue): void {
    this.said.set(settingKey(path), { value, where: this.where(path) });
  }

  private unknown(path: readonly string[], known: readonly string[]): never {
    const key = path[path.length - 1]!;
    const near = nearest(key, known);
    const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`;
    throw new BridgeError('BAD_REQUEST', `${this.where(path)}: unknown key ${path.join('.')}; ${hint}`);
  }

  private fail(path: readonly string[], why: string): never {
    throw new BridgeError('BAD_REQUEST', `${this.where(path)}: ${path.join('.')}: ${why}`);
  }

  private where(path: readonly string[]): string {
    const line = this.lines.of(path);
    return line === undefined ? this.file : `${this.file}:${line}`;
  }
}

/** Whether a number of seconds has no more than three digits behind the point. */
function isMilliseconds(seconds: number): boolean {
  return Math.round(seconds * 1_000) / 1_000 === seconds;
}

/** As JSON has it, and TOML mostly; what JSON cannot say as TOML has it. */
function show(value: Value): string {
  if (Array.isArray(value)) return `[${value.map(show).join(',')}]`;
  if (typeof value === 'number' && !Number.isFinite(value))
    return `${value}`.toLowerCase().replace('infinity', 'inf');
  return JSON.stringify(value) ?? String(value);
}
