/**
 * Holds the import rules of docs/architecture.md. Each rule is also shown files that break it. Tests may import both
 * programs and, to make what a hostile peer would send, any package.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PROGRAMS = ['host-agent', 'vm-shim'] as const;
const FOLDERS = [...PROGRAMS, 'shared'];

/** Files that may read process.platform besides those named choose.ts, and why. */
const READS_PLATFORM: Record<string, string> = {
  'shared/transport/socket-path.ts': 'how long the path of a unix socket may be',
};

interface Import {
  /** A path from the root of the project, or a package. */
  readonly target: string;
  /** As it is written. */
  readonly specifier: string;
  /** `import type`, or `export type`: nothing of it is left when the program runs. */
  readonly typeOnly: boolean;
}

interface SourceFile {
  readonly path: string;
  readonly code: string;
  readonly imports: readonly Import[];
}

/** Answers what is wrong with a file, a line for each fault. */
type Rule = (file: SourceFile) => string[];

const STATEMENT = /^(?:import|export)\b\s*(type\b)?(?:[^'";]*?\bfrom\s*)?\s*['"]([^'"]+)['"]/gm;
const DYNAMIC = /\bimport\(\s*['"]([^'"]+)['"]/g;

function sourceFile(path: string, code: string): SourceFile {
  const resolve = (specifier: string) =>
    specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : specifier;
  const found = [
    ...[...code.matchAll(STATEMENT)].map(([, type, name]) => ({
      specifier: name!,
      typeOnly: type !== undefined,
    })),
    ...[...code.matchAll(DYNAMIC)].map(([, name]) => ({ specifier: name!, typeOnly: false })),
  ];
  return { path, code, imports: found.map((each) => ({ ...each, target: resolve(each.specifier) })) };
}

function isIn(path: string, ...folders: string[]): boolean {
  return folders.some((folder) => path === folder || path.startsWith(`${folder}/`));
}

/** A rule about files for which `applies` holds: none of their imports may be `forbidden`. */
function never(applies: (path: string) => boolean, forbidden: (each: Import) => boolean, why: string): Rule {
  return ({ path, imports }) =>
    applies(path)
      ? imports.filter(forbidden).map(({ specifier }) => `${path} imports ${specifier}: ${why}`)
      : [];
}

function onlyIn(folder: string, ...packages: string[]): Rule {
  return never(
    (path) => !isTest(path) && !isIn(path, folder),
    ({ target }) => isIn(target, ...packages),
    `only ${folder} may`,
  );
}

const isRelative = ({ specifier }: Import) => specifier.startsWith('.');
const inData = (path: string) => PROGRAMS.some((program) => isIn(path, `${program}/data`));
const isTest = (path: string) => isIn(path, 'test');

const RULES: Record<
  string,
  { readonly rule: Rule; readonly broken: readonly [path: string, code: string][] }
> = {
  'the two programs import themselves and shared, never each other': {
    rule: (file) =>
      PROGRAMS.flatMap((program) =>
        never(
          (path) => isIn(path, program),
          (each) => isRelative(each) && !isIn(each.target, program, 'shared'),
          `${program} knows itself and shared only`,
        )(file),
      ),
    broken: [
      ['host-agent/agent.ts', "import { startShim } from '../vm-shim/shim.ts';"],
      ['vm-shim/data/incoming.ts', "import type { Forward } from '../../host-agent/data/forward.ts';"],
      ['vm-shim/main.ts', "import { until } from '../test/helpers/processes.ts';"],
    ],
  },
  'shared never imports upward': {
    rule: never(
      (path) => isIn(path, 'shared'),
      (each) => isRelative(each) && !isIn(each.target, 'shared'),
      'shared knows no program',
    ),
    broken: [['shared/link/link.ts', "import { startAgent } from '../../host-agent/agent.ts';"]],
  },
  'the protocol cores p9 and mux do no I/O and know transports as types': {
    rule: never(
      (path) => isIn(path, 'shared/p9', 'shared/mux'),
      ({ target, typeOnly }) =>
        ['node:net', 'node:dgram'].includes(target) || (!typeOnly && isIn(target, 'shared/transport')),
      'a protocol core is bytes in, bytes out',
    ),
    broken: [
      ['shared/mux/driver.ts', "import type { Socket } from 'node:net';"],
      ['shared/p9/server.ts', "import {\n  createSocket,\n} from 'node:dgram';"],
      ['shared/p9/client.ts', "import { dial } from '../transport/dial.ts';"],
    ],
  },
  'relay imports neither mux nor p9': {
    rule: never(
      (path) => isIn(path, 'shared/relay'),
      ({ target }) => isIn(target, 'shared/mux', 'shared/p9'),
      'a relay knows ends of connections only',
    ),
    broken: [['shared/relay/channel-end.ts', "import type { Channel } from '../mux/channel.ts';"]],
  },
  'data imports neither control nor p9': {
    rule: never(
      inData,
      ({ target }) =>
        PROGRAMS.some((program) => isIn(target, `${program}/control`)) || isIn(target, 'shared/p9'),
      'data does not know who asked for it',
    ),
    broken: [
      ['host-agent/data/tunnel.ts', "import type { VmLink } from '../control/vm-link.ts';"],
      ['vm-shim/data/incoming.ts', "const x = await import('../../shared/p9/client.ts');"],
    ],
  },
  'msgpackr is imported in shared/control-codec.ts only': {
    rule: onlyIn('shared/control-codec.ts', 'msgpackr'),
    broken: [['shared/preface.ts', "import { Packr } from 'msgpackr';"]],
  },
  'smol-toml is imported in shared/settings/read-settings.ts only': {
    rule: onlyIn('shared/settings/read-settings.ts', 'smol-toml'),
    broken: [['host-agent/main.ts', "import { parse } from 'smol-toml';"]],
  },
  'pino is imported in shared/logger.ts only': {
    rule: onlyIn('shared/logger.ts', 'pino', 'pino-pretty'),
    broken: [
      ['host-agent/main.ts', "import { pino } from 'pino';"],
      ['portferry.ts', "import pretty from 'pino-pretty';"],
    ],
  },
  'koffi is imported in shared/platform/linux only': {
    rule: onlyIn('shared/platform/linux', 'koffi'),
    broken: [['shared/relay/stream-end.ts', "const koffi = await import('koffi');"]],
  },
  'process.platform is read in files named choose.ts, and where it is listed': {
    rule: ({ path, code }) =>
      !isTest(path) &&
      posix.basename(path) !== 'choose.ts' &&
      READS_PLATFORM[path] === undefined &&
      /\bprocess\s*\.\s*platform\b|\bplatform\b[^;\n]*\bfrom ['"]node:(?:os|process)['"]/.test(code)
        ? [`${path} reads process.platform`]
        : [],
    broken: [
      ['shared/ports/reserve-tcp.ts', "const windows = process.platform === 'win32';"],
      ['vm-shim/main.ts', "import { platform } from 'node:os';"],
    ],
  },
  'no file only passes on what others export': {
    rule: ({ path, code }) => (isBarrel(code) ? [`${path} is a barrel`] : []),
    broken: [
      [
        'shared/mux/index.ts',
        "/** All of it. */\nexport * from './session.ts';\nexport { Channel } from './channel.ts';\n",
      ],
      ['shared/mux/all.ts', "import { a } from './a.ts';\n// and\nexport { a };\n"],
    ],
  },
  'portferry.ts alone imports both programs': {
    rule: ({ path, imports }) =>
      !isTest(path) &&
      path !== 'portferry.ts' &&
      PROGRAMS.every((program) => imports.some(({ target }) => isIn(target, program)))
        ? [`${path} imports both programs`]
        : [],
    broken: [['shared/both.ts', "import '../host-agent/main.ts';\nimport '../vm-shim/main.ts';"]],
  },
  'imports of files name them as they are': {
    rule: never(
      () => true,
      (each) => isRelative(each) && !/\.(?:ts|json)$/.test(each.specifier),
      'it needs its suffix .ts',
    ),
    broken: [
      ['shared/scope.ts', "import { x } from './errors';"],
      ['shared/scope.ts', "import { x } from './errors.js';"],
    ],
  },
};

/** True when nothing is left of a file without its comments, imports and re-exports. */
function isBarrel(code: string): boolean {
  const bare = code
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/^\s*\/\/.*$/gm, '')
    .replace(/^import\b[^;]*;/gm, '');
  const rest = bare.replace(/^export\s+(?:type\s+)?(?:\*[^;]*|\{[^}]*\}[^;]*);/gm, '');
  return rest.trim() === '' && bare.trim() !== '';
}

function allFiles(): SourceFile[] {
  const paths = [...FOLDERS, 'test'].flatMap((folder) =>
    readdirSync(`${ROOT}${folder}`, { recursive: true, encoding: 'utf8' }).map(
      (name) => `${folder}/${name.replaceAll('\\', '/')}`,
    ),
  );
  return [...paths.filter((path) => path.endsWith('.ts')), 'portferry.ts'].map((path) =>
    sourceFile(path, readFileSync(ROOT + path, 'utf8')),
  );
}

describe('import rules', () => {
  const files = allFiles();

  it('are held against all of the code', () => {
    const seen = files.map(({ path }) => path);
    expect(seen).toContain('portferry.ts');
    for (const folder of [...FOLDERS, 'test']) expect(seen.some((path) => isIn(path, folder))).toBe(true);
    expect(files.flatMap(({ imports }) => imports).length).toBeGreaterThan(200);
  });

  it.each(Object.entries(RULES))('%s', (_name, { rule }) => {
    // This file quotes code that breaks the rules.
    expect(files.filter(({ path }) => path !== 'test/unit/import-rules.test.ts').flatMap(rule)).toEqual([]);
  });

  it.each(Object.entries(RULES))('are able to fail: %s', (_name, { rule, broken }) => {
    for (const [path, code] of broken) expect(rule(sourceFile(path, code)), code).toHaveLength(1);
  });

  it.each(Object.keys(READS_PLATFORM))('%s still needs its place in the list', (path) => {
    expect(files.find((file) => file.path === path)?.code).toContain('process.platform');
  });
});

describe('sourceFile', () => {
  it('finds imports in every form', () => {
    const code = [
      "import a from './a.ts';",
      "import type { B } from '../b.ts';",
      'import {\n  type C,\n  c,\n} from "node:fs";',
      "import './side-effect.ts';",
      "export { d } from './d.ts';",
      "export type { E } from './e.ts';",
      "export * from './f.ts';",
      "const g = await import('./g.ts');",
      "export const text = 'no import';",
      " * import x from 'comment';",
    ].join('\n');
    expect(sourceFile('shared/x/y.ts', code).imports).toEqual([
      { target: 'shared/x/a.ts', specifier: './a.ts', typeOnly: false },
      { target: 'shared/b.ts', specifier: '../b.ts', typeOnly: true },
      { target: 'node:fs', specifier: 'node:fs', typeOnly: false },
      { target: 'shared/x/side-effect.ts', specifier: './side-effect.ts', typeOnly: false },
      { target: 'shared/x/d.ts', specifier: './d.ts', typeOnly: false },
      { target: 'shared/x/e.ts', specifier: './e.ts', typeOnly: true },
      { target: 'shared/x/f.ts', specifier: './f.ts', typeOnly: false },
      { target: 'shared/x/g.ts', specifier: './g.ts', typeOnly: false },
    ]);
  });
});
