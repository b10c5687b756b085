// What the scripts here share: the settings that the test hands over, a person with a browser, and the last word.
import { createInterface } from 'node:readline'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

async function line() {
  return JSON.parse((await lines.next()).value)
}

// The first line that the test writes.
export const settings = await line()

// Has the person go somewhere and waits; returns where the browser ended.
export async function ask(what) {
  process.stdout.write(JSON.stringify(what) + '\n')
  return (await line()).url
}

// Tells the test what was seen, and ends.
export function tell(seen) {
  process.stdout.write(JSON.stringify({ seen }) + '\n')
  process.exit(0)
}

// The code of the error that `work` must end with.
export async function refusal(work) {
  try {
    await work()
  } catch (error) {
    return error.error ?? error.code ?? String(error)
  }
  return 'nothing was refused'
}
