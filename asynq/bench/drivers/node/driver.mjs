// Drives BullMQ for `asynq bench`: `node driver.mjs produce` or `node driver.mjs work CONCURRENCY`.
//
// It finds the broker in ASYNQ_BENCH_BROKER. The producer answers each line `MODE COUNT` with a line of JSON. The
// worker writes to the named pipe ASYNQ_BENCH_REPORT: `mark COUNT TIME CPU` when the number of runs reaches one of
// ASYNQ_BENCH_MARKS, and `pickup SECONDS` for each payload that contains the time of its enqueue.
import { openSync, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Queue, Worker } from 'bullmq'

const SIZE = 100
const WARM_UP = 20
const CONCURRENT = 100
const BATCH = 1000
const PAYLOAD = 'x'.repeat(SIZE)

const url = new URL(process.env.ASYNQ_BENCH_BROKER)
const connection = {
  host: url.hostname,
  port: Number(url.port || 6379),
  db: Number(url.pathname.slice(1) || 0),
  username: decodeURIComponent(url.username) || undefined,
  password: decodeURIComponent(url.password) || undefined,
  maxRetriesPerRequest: null,
}

const write = value => process.stdout.write(JSON.stringify(value ?? null) + '\n')

async function produce() {
  const queue = new Queue('bench', { connection, defaultJobOptions: { removeOnComplete: true } })
  await queue.waitUntilReady()

  const enqueue = (payload = PAYLOAD) => queue.add('noop', { payload })
  const some = async count => {
    for (let number = 0; number < count; number++) await enqueue()
  }
  const spread = count =>
    Promise.all(Array.from({ length: CONCURRENT }, () => some(Math.floor(count / CONCURRENT))))
  const batch = () => queue.addBulk(Array.from({ length: BATCH }, () => ({ name: 'noop', data: { payload: PAYLOAD } })))
  const batches = async count => {
    for (let number = 0; number < count / BATCH; number++) await batch()
  }
  const timed = async (warmUp, mode, count) => {
    await warmUp()
    const start = performance.now()
    await mode(count)
    return (performance.now() - start) / 1000
  }
  const modes = {
    one: count => timed(() => some(WARM_UP), some, count),
    concurrent: count => timed(() => some(WARM_UP), spread, count),
    many: count => timed(batch, batches, count),
    fill: async count => void (await spread(count)),
    now: async () => void (await enqueue(`@${(Date.now() / 1000).toFixed(6)} `.padEnd(SIZE, 'x'))),
  }
  write(Object.keys(modes).sort())
  for await (const line of createInterface({ input: process.stdin })) {
    const [mode, count] = line.split(' ')
    write(await modes[mode](Number(count)))
  }
}

function work(concurrency) {
  const out = openSync(process.env.ASYNQ_BENCH_REPORT, 'w')
  const marks = new Set((process.env.ASYNQ_BENCH_MARKS ?? '').split(' ').map(Number))
  let runs = 0
  const run = async job => {
    const { payload } = job.data
    if (payload.startsWith('@')) {
      writeSync(out, `pickup ${Date.now() / 1000 - Number(payload.slice(1).split(' ')[0])}\n`)
    } else if (marks.has(++runs)) {
      const { user, system } = process.cpuUsage()
      writeSync(out, `mark ${runs} ${performance.now() / 1000} ${(user + system) / 1e6}\n`)
    }
  }
  new Worker('bench', run, { connection, concurrency, removeOnComplete: { count: 0 } })
}

if (process.argv[2] === 'produce') {
  await produce()
  process.exit()
} else {
  work(Number(process.argv[3]))
}
