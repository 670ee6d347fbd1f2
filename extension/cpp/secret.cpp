//! Secrets of type quack, as DuckDB's own client of the protocol has them.

#include "host.hpp"

#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/main/secret/secret.hpp"

using namespace duckdb;

namespace quack {

static unique_ptr<BaseSecret> CreateSecret(ClientContext &context, CreateSecretInput &input) {
	auto scope = input.scope;
	if (scope.empty()) {
		scope.push_back("quack:");
	}
	auto secret = make_uniq<KeyValueSecret>(scope, input.type, input.provider, input.name);
	for (auto &option : input.options) {
		secret->secret_map[Identifier(option.first)] = option.second;
	}
	secret->redact_keys.insert("token");
	return std::move(secret);
}

void RegisterSecret(ExtensionLoader &loader) {
	SecretType type;
	type.name = "quack";
	type.deserializer = KeyValueSecret::Deserialize<KeyValueSecret>;
	type.default_provider = "config";
	loader.RegisterSecretType(type);

	CreateSecretFunction function;
	function.secret_type = "quack";
	function.provider = "config";
	function.function = CreateSecret;
	function.named_parameters["token"] = LogicalType::VARCHAR;
	loader.RegisterFunction(function);
}

} // namespace quack
