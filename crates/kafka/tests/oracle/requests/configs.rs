//! Of configurations.

use kafka_protocol::messages as theirs;
use lakebed_kafka::wire::{ApiKey, Request};

use super::{string, through};
use crate::draw::Draw;

pub fn describe_configs(version: i16, d: &mut Draw<'_>) {
    use theirs::describe_configs_request::DescribeConfigsResource;
    let resource = |d: &mut Draw<'_>| {
        DescribeConfigsResource::default()
            .with_resource_type(d.i8())
            .with_resource_name(d.string())
            .with_configuration_keys(d.option(|d| d.vec(Draw::string)))
    };
    let sent = theirs::DescribeConfigsRequest::default()
        .with_resources(d.vec(resource))
        .with_include_synonyms(d.bool())
        .with_include_documentation(d.when(version >= 3, false, Draw::bool));
    through(ApiKey::DescribeConfigs, version, &sent, d, |read| {
        let Request::DescribeConfigs(r) = read else { panic!() };
        let resources = r.resources.iter().map(|resource| {
            DescribeConfigsResource::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(string(resource.name))
                .with_configuration_keys(resource.keys.map(|keys| keys.iter().map(string).collect()))
        });
        let back = theirs::DescribeConfigsRequest::default()
            .with_resources(resources.collect())
            .with_include_synonyms(r.include_synonyms)
            .with_include_documentation(r.include_documentation);
        assert_eq!(back, sent);
    });
}

pub fn alter_configs(version: i16, d: &mut Draw<'_>) {
    use theirs::alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = |d: &mut Draw<'_>| AlterableConfig::default().with_name(d.string()).with_value(d.option(Draw::string));
    let resource = |d: &mut Draw<'_>| {
        AlterConfigsResource::default()
            .with_resource_type(d.i8())
            .with_resource_name(d.string())
            .with_configs(d.vec(config))
    };
    let sent = theirs::AlterConfigsRequest::default().with_resources(d.vec(resource)).with_validate_only(d.bool());
    through(ApiKey::AlterConfigs, version, &sent, d, |read| {
        let Request::AlterConfigs(r) = read else { panic!() };
        let resources = r.resources.iter().map(|resource| {
            let configs = resource
                .configs
                .iter()
                .map(|c| AlterableConfig::default().with_name(string(c.name)).with_value(c.value.map(string)));
            AlterConfigsResource::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(string(resource.name))
                .with_configs(configs.collect())
        });
        let back = theirs::AlterConfigsRequest::default()
            .with_resources(resources.collect())
            .with_validate_only(r.validate_only);
        assert_eq!(back, sent);
    });
}

pub fn incremental_alter_configs(version: i16, d: &mut Draw<'_>) {
    use theirs::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let config = |d: &mut Draw<'_>| {
        AlterableConfig::default()
            .with_name(d.string())
            .with_config_operation(d.i8())
            .with_value(d.option(Draw::string))
    };
    let resource = |d: &mut Draw<'_>| {
        AlterConfigsResource::default()
            .with_resource_type(d.i8())
            .with_resource_name(d.string())
            .with_configs(d.vec(config))
    };
    let sent =
        theirs::IncrementalAlterConfigsRequest::default().with_resources(d.vec(resource)).with_validate_only(d.bool());
    through(ApiKey::IncrementalAlterConfigs, version, &sent, d, |read| {
        let Request::IncrementalAlterConfigs(r) = read else { panic!() };
        let resources = r.resources.iter().map(|resource| {
            let configs = resource.changes.iter().map(|c| {
                AlterableConfig::default()
                    .with_name(string(c.name))
                    .with_config_operation(c.operation)
                    .with_value(c.value.map(string))
            });
            AlterConfigsResource::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(string(resource.name))
                .with_configs(configs.collect())
        });
        let back = theirs::IncrementalAlterConfigsRequest::default()
            .with_resources(resources.collect())
            .with_validate_only(r.validate_only);
        assert_eq!(back, sent);
    });
}

pub fn list_config_resources(version: i16, d: &mut Draw<'_>) {
    let sent =
        theirs::ListConfigResourcesRequest::default()
            .with_resource_types(d.when(version >= 1, Vec::new(), |d| d.vec(Draw::i8)));
    through(ApiKey::ListConfigResources, version, &sent, d, |read| {
        let Request::ListConfigResources(r) = read else { panic!() };
        let read = r.resource_types.map(|types| types.iter().collect::<Vec<_>>());
        assert_eq!(read, (version >= 1).then(|| sent.resource_types.clone()));
    });
}
