//! Of configurations.

use kafka_protocol::messages as theirs;
use lakebed_kafka::wire::alter_configs::AlteredResource;
use lakebed_kafka::wire::create_topics::ConfigSource;
use lakebed_kafka::wire::describe_configs::{
    ConfigSynonym, ConfigType, DescribedConfig, DescribedResource, ResourceType,
};
use lakebed_kafka::wire::list_config_resources::{ListConfigResourcesResponse, ListedResource};
use lakebed_kafka::wire::{ApiKey, alter_configs, describe_configs};

use super::{error, since, string, through};
use crate::draw::Draw;

fn source(d: &mut Draw<'_>) -> ConfigSource {
    [ConfigSource::Topic, ConfigSource::StaticBroker, ConfigSource::Default, ConfigSource::Group][d.below(4)]
}

pub fn describe_configs(version: i16, d: &mut Draw<'_>) {
    use theirs::describe_configs_response as r;
    let synonym = |d: &mut Draw<'_>| ConfigSynonym { name: d.str(), value: d.option(Draw::text), source: source(d) };
    let config = |d: &mut Draw<'_>| DescribedConfig {
        name: d.str(),
        value: d.option(Draw::text),
        read_only: d.bool(),
        source: source(d),
        sensitive: d.bool(),
        synonyms: d.vec(synonym),
        config_type: [ConfigType::Boolean, ConfigType::Long, ConfigType::Password][d.below(3)],
        documentation: d.option(Draw::str),
    };
    let ours = d.vec(|d| DescribedResource {
        error: error(d),
        error_message: d.option(Draw::text),
        resource_type: d.i8(),
        name: d.str(),
        configs: d.vec(config),
    });
    let config = |c: &DescribedConfig<'_>| {
        let synonyms = c.synonyms.iter().map(|s| {
            r::DescribeConfigsSynonym::default()
                .with_name(string(s.name))
                .with_value(s.value.as_deref().map(string))
                .with_source(s.source as i8)
        });
        r::DescribeConfigsResourceResult::default()
            .with_name(string(c.name))
            .with_value(c.value.as_deref().map(string))
            .with_read_only(c.read_only)
            .with_config_source(c.source as i8)
            .with_is_sensitive(c.sensitive)
            .with_synonyms(synonyms.collect())
            .with_config_type(since(version >= 3, c.config_type as i8, 0))
            .with_documentation(since(version >= 3, c.documentation.map(string), Some(string(""))))
    };
    let results = ours.iter().map(|resource| {
        r::DescribeConfigsResult::default()
            .with_error_code(resource.error as i16)
            .with_error_message(resource.error_message.as_deref().map(string))
            .with_resource_type(resource.resource_type)
            .with_resource_name(string(resource.name))
            .with_configs(resource.configs.iter().map(config).collect())
    });
    let expected = theirs::DescribeConfigsResponse::default().with_results(results.collect());
    through(ApiKey::DescribeConfigs, version, |w| describe_configs::encode_response(w, &ours), expected);
}

fn altered(d: &mut Draw<'_>) -> AlteredResource<'static> {
    AlteredResource { error: error(d), error_message: d.option(Draw::text), resource_type: d.i8(), name: d.str() }
}

pub fn alter_configs(version: i16, d: &mut Draw<'_>) {
    use theirs::alter_configs_response::AlterConfigsResourceResponse;
    let ours = d.vec(altered);
    let responses = ours.iter().map(|resource| {
        AlterConfigsResourceResponse::default()
            .with_error_code(resource.error as i16)
            .with_error_message(resource.error_message.as_deref().map(string))
            .with_resource_type(resource.resource_type)
            .with_resource_name(string(resource.name))
    });
    let expected = theirs::AlterConfigsResponse::default().with_responses(responses.collect());
    through(ApiKey::AlterConfigs, version, |w| alter_configs::encode_response(w, &ours), expected);
}

pub fn incremental_alter_configs(version: i16, d: &mut Draw<'_>) {
    use theirs::incremental_alter_configs_response::AlterConfigsResourceResponse;
    let ours = d.vec(altered);
    let responses = ours.iter().map(|resource| {
        AlterConfigsResourceResponse::default()
            .with_error_code(resource.error as i16)
            .with_error_message(resource.error_message.as_deref().map(string))
            .with_resource_type(resource.resource_type)
            .with_resource_name(string(resource.name))
    });
    let expected = theirs::IncrementalAlterConfigsResponse::default().with_responses(responses.collect());
    through(ApiKey::IncrementalAlterConfigs, version, |w| alter_configs::encode_response(w, &ours), expected);
}

pub fn list_config_resources(version: i16, d: &mut Draw<'_>) {
    use theirs::list_config_resources_response::ConfigResource;
    let kinds = [ResourceType::Topic, ResourceType::Broker, ResourceType::ClientMetrics, ResourceType::Group];
    let resource = |d: &mut Draw<'_>| ListedResource { name: d.str(), resource_type: kinds[d.below(4)] };
    let ours = ListConfigResourcesResponse { error: error(d), resources: d.vec(resource) };
    let resources = ours.resources.iter().map(|resource| {
        let client_metrics = 16;
        ConfigResource::default().with_resource_name(string(resource.name)).with_resource_type(since(
            version >= 1,
            resource.resource_type as i8,
            client_metrics,
        ))
    });
    let expected = theirs::ListConfigResourcesResponse::default()
        .with_error_code(ours.error as i16)
        .with_config_resources(resources.collect());
    through(ApiKey::ListConfigResources, version, |w| ours.encode(w), expected);
}
