/**
 * Node's own http. An `import` of it reads each of its exports, lazy ones too, and so loads undici and http/2: 10 MB of
 * resident memory for nothing (Node 26.10). Asked for like this it loads what it is asked for.
 */
export const { createServer, request } = process.getBuiltinModule('node:http');
