/// Why a group refused a request. Each stands for the Kafka error code of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    #[error("the group does not know this member")]
    UnknownMemberId,
    #[error("the generation is not the group's present one")]
    IllegalGeneration,
    #[error("the group is rebalancing, so a rejoin is needed")]
    RebalanceInProgress,
    /// KIP-394: the member is to join again under the id that the answer names.
    #[error("join again with the member id that was given")]
    MemberIdRequired,
    #[error("another member joined with the same group.instance.id")]
    FencedInstanceId,
    #[error("another member still holds this group.instance.id")]
    UnreleasedInstanceId,
    #[error("the group's members have no protocol in common with this one")]
    InconsistentGroupProtocol,
    #[error("the group has as many members, or as much metadata, as it may have")]
    GroupMaxSizeReached,
    #[error("the session time-out is not within group.min.session.timeout.ms and group.max.session.timeout.ms")]
    InvalidSessionTimeout,
    #[error("the member epoch is not the one that the group knows; give up all partitions and rejoin")]
    FencedMemberEpoch,
    #[error("the member epoch is stale; retry with the present one")]
    StaleMemberEpoch,
    #[error("the group has no such server-side assignor; there are uniform and range")]
    UnsupportedAssignor,
    #[error("the regular expression is invalid or too large")]
    InvalidRegularExpression,
    #[error("the group is of the other protocol and has members")]
    GroupIdNotFound,
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// This node's claim on the group is gone; ask for the coordinator again.
    #[error("this node is not the group's coordinator")]
    NotCoordinator,
    /// The state could not be made durable; the same request may be tried again.
    #[error("the coordinator could not store the group's state; try again")]
    CoordinatorNotAvailable,
}
