/** Whether this is Windows: pipes instead of unix sockets, signals of a console, files that others hold. */
export const onWindows = process.platform === 'win32';
