#!/usr/bin/env node
// The npm compiler behind the command line that py-solc-x expects of a native solc: `--version`, and
// `--standard-json` with the input on stdin and nothing but the output on stdout. (`solcjs --standard-json`
// prints a line of its own first, which is why it cannot be used.) Path options such as --allow-paths and
// --base-path are accepted and ignored: all sources come inline, an import that is not among them is an error.
'use strict';

const fs = require('node:fs');

const WITH_VALUE = new Set(['--allow-paths', '--base-path', '--include-path', '--output-dir']);
const WITHOUT_VALUE = new Set(['--standard-json', '--overwrite', '-']);

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

function main(args) {
  let solc;
  try {
    solc = require('solc');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    fail('solc-wrapper: the npm package solc is not installed; run npm ci in hardhat-free-devnet');
  }
  if (args.includes('--version')) {
    process.stdout.write(
      `solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`,
    );
    return;
  }
  for (let i = 0; i < args.length; i += 1) {
    const name = args[i].split('=', 1)[0];
    if (WITH_VALUE.has(name)) i += name === args[i] ? 1 : 0;
    else if (!WITHOUT_VALUE.has(args[i])) fail(`unrecognised option '${args[i]}'`);
  }
  if (!args.includes('--standard-json')) fail('solc-wrapper: only --standard-json and --version are supported');
  process.stdout.write(solc.compile(fs.readFileSync(0, 'utf8')));
}

main(process.argv.slice(2));
