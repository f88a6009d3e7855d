/** What a VM may be called, as part of a regular expression. */
export const VM_NAME = '[A-Za-z0-9._-]{1,64}';
