// Cases for kafkajs: prints one JSON line a case. Usage: node main.js HOST:PORT
const { Kafka, CompressionTypes, logLevel } = require('kafkajs')
const assert = require('assert')

const kafka = new Kafka({ clientId: 'cases', brokers: [process.argv[2]], logLevel: logLevel.NOTHING })
const messages = Array.from({ length: 1000 }, (_, i) => ({ key: `k${i}`, value: `v${i}`, headers: { h: 'x' }, partition: 0 }))

async function send(topic, options, compression) {
  const producer = kafka.producer(options)
  await producer.connect()
  let next = 0
  for (let i = 0; i < messages.length; i += 100) {
    const [answer] = await producer.send({ topic, messages: messages.slice(i, i + 100), compression })
    assert.strictEqual(answer.errorCode, 0)
    assert.strictEqual(Number(answer.baseOffset), next)
    next += 100
  }
  await producer.disconnect()
}

async function topics() {
  const admin = kafka.admin()
  await admin.connect()
  const topic = 'kafkajs-topic'
  assert(await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] }))
  assert((await admin.listTopics()).includes(topic))
  const { topics: [found] } = await admin.fetchTopicMetadata({ topics: [topic] })
  assert.strictEqual(found.partitions.length, 3)
  const offsets = await admin.fetchTopicOffsets(topic)
  assert.deepStrictEqual(offsets.map((o) => [o.low, o.high]), [['0', '0'], ['0', '0'], ['0', '0']])
  await admin.deleteTopics({ topics: [topic] })
  assert(!(await admin.listTopics()).includes(topic))
  const cluster = await admin.describeCluster()
  assert.strictEqual(cluster.brokers.length, 1)
  await admin.disconnect()
}

const cases = {
  'plain producer': () => send('kafkajs-plain', { allowAutoTopicCreation: true }, CompressionTypes.None),
  'producer with gzip': () => send('kafkajs-gzip', {}, CompressionTypes.GZIP),
  'idempotent producer': () => send('kafkajs-idempotent', { idempotent: true, maxInFlightRequests: 1 }, CompressionTypes.None),
  'topics': topics,
}

async function main() {
  for (const [name, run] of Object.entries(cases)) {
    let error = null
    try {
      await run()
    } catch (e) {
      error = String(e.stack)
    }
    console.log(JSON.stringify({ case: name, error }))
  }
}

main().then(() => process.exit(0))
