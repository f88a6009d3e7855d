/** Whether what options and the configuration file say of VMs goes together. */
import { BridgeError } from '../shared/errors.ts';
import type { Settings } from '../shared/settings/settings.ts';
import type { HostConfig } from './config.ts';
import { DEFAULT_VM } from './vm-name.ts';

type OfVms = Pick<HostConfig, 'connect' | 'listen' | 'control' | 'peerCids' | 'tokenFiles'>;

/** @returns the names of the VMs, each of which has one link. @throws BridgeError BAD_REQUEST */
export function checkVms(
  { connect, listen, control, peerCids, tokenFiles }: OfVms,
  file: Settings,
): string[] {
  const vms = namesOf([...connect, ...listen]);
  const unlinked = file.names('vm').find((vm) => !vms.includes(vm));
  if (unlinked !== undefined)
    throw wrong(
      `${file.get('vm', unlinked)?.where ?? 'the configuration'}: VM "${unlinked}" has neither connect nor listen, nor do options give it one`,
    );
  if (vms.length === 0)
    throw wrong(
      'give --connect <url> (we dial the VM shim there) or --listen <url> (VM shims dial us), or name a VM in --config',
    );
  const twice = repeated(vms);
  if (twice !== undefined) throw wrong(twoUrls(twice, namesOf(connect), namesOf(listen), file));
  const shared = repeated(connect.map(({ address }) => address.url));
  if (shared !== undefined) {
    const [one, other] = connect.filter(({ address }) => address.url === shared);
    throw wrong(`VM "${one!.vm}" and VM "${other!.vm}" have the same URL to dial, ${shared}`);
  }
  const stranger = control.find(({ vm }) => !vms.includes(vm));
  if (stranger !== undefined)
    throw linkless(`--control ${stranger.address.url}`, stranger.vm, '--control NAME=<url>');
  checkKnown('--peer-cid', '<cids>', namesOf(peerCids), vms);
  checkKnown('--token-file', 'PATH', namesOf(tokenFiles), vms);
  const twoTokens = repeated(namesOf(tokenFiles));
  if (twoTokens !== undefined) throw wrong(`VM "${twoTokens}" has two --token-file`);
  return vms;
}

function checkKnown(option: string, value: string, named: readonly string[], vms: readonly string[]): void {
  const unknown = named.find((vm) => !vms.includes(vm));
  if (unknown !== undefined) throw linkless(option, unknown, `${option} NAME=${value}`);
}

function linkless(what: string, vm: string, right: string): BridgeError {
  return wrong(`${what} is for VM "${vm}", which has no --connect or --listen; write ${right}`);
}

function twoUrls(vm: string, dialled: readonly string[], awaited: readonly string[], file: Settings): string {
  const both = dialled.includes(vm) && awaited.includes(vm) ? ['give it either connect or listen'] : [];
  const naming = vm === DEFAULT_VM ? ['name the VMs: --connect NAME=<url>'] : [];
  const help = [...both, ...naming].join(', or ') || 'a VM has one link';
  // One link in the file gives way to what options say.
  const said = file.get('vm', vm, 'connect') && file.get('vm', vm, 'listen');
  return `${said === undefined ? '' : `${said.where}: `}VM "${vm}" has two URLs: ${help}`;
}

function namesOf(each: readonly { readonly vm: string }[]): string[] {
  return each.map(({ vm }) => vm);
}

function repeated(texts: readonly string[]): string | undefined {
  return texts.find((text, index) => texts.indexOf(text) !== index);
}

function wrong(why: string): BridgeError {
  return new BridgeError('BAD_REQUEST', why);
}
