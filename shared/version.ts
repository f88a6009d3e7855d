import { existsSync, readFileSync } from 'node:fs';

/** The version in package.json, which lies one folder up from the sources and two from the build. */
function readVersion(): string {
  for (const up of ['../package.json', '../../package.json']) {
    const file = new URL(up, import.meta.url);
    if (!existsSync(file)) continue;
    const { name, version } = JSON.parse(readFileSync(file, 'utf8')) as { name?: string; version?: string };
    if (name === 'portferry' && version !== undefined) return version;
  }
  throw new Error('package.json of portferry not found beside the program: the installation is damaged');
}

export const VERSION = readVersion();
