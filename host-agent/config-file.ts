import type { Settings } from '../shared/settings/settings.ts';
import type { HostOptions } from './config.ts';
import { splitVmName } from './vm-name.ts';

/** What the file says, as options say it; an option that is given wins, and so does what options say of one VM. */
export function optionsWithFile(given: HostOptions, file: Settings): HostOptions {
  const named = (options: readonly string[] = []): string[] => options.map((each) => splitVmName(each).vm);
  const linked = [...named(given.connect), ...named(given.listen)];
  const ofVms = (key: string, taken: readonly string[]): string[] =>
    file
      .names('vm')
      .filter((vm) => !taken.includes(vm))
      .flatMap((vm) => [file.get('vm', vm, key)?.value ?? []].flat().map((text) => `${vm}=${text}`));
  const both = (
    key: 'connect' | 'listen' | 'control' | 'peerCid',
    name: string,
    taken: readonly string[],
  ) => ({
    [key]: [...ofVms(name, taken), ...(given[key] ?? [])],
  });
  const fromFile = {
    api: file.text('api'),
    engine: file.text('engine'),
    workers: file.number('workers')?.toString(),
  };
  return {
    ...withoutUndefined(fromFile),
    ...withoutUndefined(given),
    ...both('connect', 'connect', linked),
    ...both('listen', 'listen', linked),
    ...both('control', 'control', named(given.control)),
    ...both('peerCid', 'peer-cid', named(given.peerCid)),
  };
}

function withoutUndefined<T extends object>(options: T): { [Key in keyof T]?: Exclude<T[Key], undefined> } {
  const said = Object.entries(options).filter(([, value]) => value !== undefined);
  return Object.fromEntries(said) as { [Key in keyof T]?: Exclude<T[Key], undefined> };
}
