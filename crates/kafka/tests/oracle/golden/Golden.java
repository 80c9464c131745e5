// Prints the messages of golden.rs in the bytes of Apache Kafka itself:
//   java -cp kafka-clients-4.3.1.jar Golden.java
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.*;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;

class Golden {
    static void print(String name, Message message, int version) {
        var buffer = MessageUtil.toByteBufferAccessor(message, (short) version).buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        System.out.println(name + " " + HexFormat.of().formatHex(bytes));
    }

    public static void main(String[] args) {
        var topic = new Uuid(0x0011223344556677L, 0x8899aabbccddeeffL);
        print("OFFSET_COMMIT_REQUEST_10", new OffsetCommitRequestData()
            .setGroupId("group").setGenerationIdOrMemberEpoch(7).setMemberId("member").setGroupInstanceId("instance")
            .setTopics(List.of(new OffsetCommitRequestData.OffsetCommitRequestTopic().setTopicId(topic).setPartitions(List.of(
                new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(3)
                    .setCommittedOffset(1234567890123L).setCommittedLeaderEpoch(5).setCommittedMetadata("meta"),
                new OffsetCommitRequestData.OffsetCommitRequestPartition().setPartitionIndex(4)
                    .setCommittedOffset(0).setCommittedMetadata(null))))), 10);
        print("OFFSET_FETCH_REQUEST_10", new OffsetFetchRequestData().setRequireStable(true).setGroups(List.of(
            new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId("group").setMemberId("member").setMemberEpoch(7)
                .setTopics(List.of(new OffsetFetchRequestData.OffsetFetchRequestTopics()
                    .setTopicId(topic).setPartitionIndexes(List.of(0, 5)))),
            new OffsetFetchRequestData.OffsetFetchRequestGroup().setGroupId("other").setTopics(null))), 10);
        print("DESCRIBE_LOG_DIRS_REQUEST_5", new DescribeLogDirsRequestData().setTopics(
            new DescribeLogDirsRequestData.DescribableLogDirTopicCollection(List.of(
                new DescribeLogDirsRequestData.DescribableLogDirTopic().setTopic("topic").setPartitions(List.of(0, 5))).iterator())), 5);
        print("DESCRIBE_LOG_DIRS_RESPONSE_5", new DescribeLogDirsResponseData().setErrorCode((short) 7).setResults(List.of(
            new DescribeLogDirsResponseData.DescribeLogDirsResult().setErrorCode((short) 56).setLogDir("s3://bucket")
                .setTotalBytes(1L << 40).setUsableBytes(-1).setIsCordoned(false)
                .setTopics(List.of(new DescribeLogDirsResponseData.DescribeLogDirsTopic().setName("topic").setPartitions(List.of(
                    new DescribeLogDirsResponseData.DescribeLogDirsPartition().setPartitionIndex(5).setPartitionSize(123456789012L)
                        .setOffsetLag(0).setIsFutureKey(false))))))), 5);
        print("LIST_OFFSETS_REQUEST_11", new ListOffsetsRequestData().setReplicaId(-1).setIsolationLevel((byte) 1).setTimeoutMs(30000)
            .setTopics(List.of(new ListOffsetsRequestData.ListOffsetsTopic().setName("topic").setPartitions(List.of(
                new ListOffsetsRequestData.ListOffsetsPartition().setPartitionIndex(5).setCurrentLeaderEpoch(0).setTimestamp(-6))))), 11);
        print("LIST_OFFSETS_RESPONSE_11", new ListOffsetsResponseData()
            .setTopics(List.of(new ListOffsetsResponseData.ListOffsetsTopicResponse().setName("topic").setPartitions(List.of(
                new ListOffsetsResponseData.ListOffsetsPartitionResponse().setPartitionIndex(5).setErrorCode((short) 7)
                    .setTimestamp(-1).setOffset(77).setLeaderEpoch(0))))), 11);
    }
}
