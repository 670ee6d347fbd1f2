//! Reads, checks and writes the placement of tables: the options of CREATE TABLE and ALTER TABLE, and the tags in which a
//! table keeps them.

#include "placement.hpp"

#include "catalog.hpp"
#include "duckdb/parser/expression/constant_expression.hpp"
#include "duckdb/parser/keyword_helper.hpp"

using namespace duckdb;

namespace quack {

constexpr const char *SHARD_PREFIX = "shard-";

string ShardName(uint32_t shard) {
	return SHARD_PREFIX + to_string(shard);
}

static string TagOr(const Tags &tags, const char *name, const string &fallback) {
	auto found = tags.find(name);
	return found == tags.end() ? fallback : found->second;
}

static uint64_t NumberOr(const Tags &tags, const char *name, uint64_t fallback) {
	auto number = Value(TagOr(tags, name, string())).DefaultTryCastAs(LogicalType::UBIGINT);
	return number ? number->GetValue<uint64_t>() : fallback;
}

Placement Placement::OfTags(const Tags &tags) {
	Placement result;
	result.group = TagOr(tags, GROUP_OPTION, string());
	result.shard_key = TagOr(tags, SHARD_KEY_OPTION, string());
	if (!result.shard_key.empty()) {
		auto groups = NumberOr(tags, GROUPS_OPTION, GROUPS_DEFAULT);
		result.groups = static_cast<uint32_t>(MinValue<uint64_t>(MaxValue<uint64_t>(groups, 1), GROUPS_MAX));
	}
	result.epoch = NumberOr(tags, EPOCH_TAG, 1);
	return result;
}

void Placement::ToTags(Tags &tags) const {
	Tags result;
	for (auto &tag : tags) {
		if (tag.first != GROUP_OPTION && tag.first != SHARD_KEY_OPTION && tag.first != GROUPS_OPTION && tag.first != EPOCH_TAG) {
			result.insert(tag.first, tag.second);
		}
	}
	if (!group.empty()) {
		result.insert(GROUP_OPTION, group);
	}
	if (!shard_key.empty()) {
		result.insert(SHARD_KEY_OPTION, shard_key);
		result.insert(GROUPS_OPTION, to_string(groups));
	}
	// A table that never had a placement needs none.
	if (!IsDefault() || epoch > 1) {
		result.insert(EPOCH_TAG, to_string(epoch));
	}
	tags = std::move(result);
}

Options Placement::ToOptions() const {
	Options options;
	if (!group.empty()) {
		options.emplace(GROUP_OPTION, ConstantExpression::String(group));
	}
	if (!shard_key.empty()) {
		options.emplace(SHARD_KEY_OPTION, ConstantExpression::String(shard_key));
		options.emplace(GROUPS_OPTION, ConstantExpression::Integer(groups));
	}
	return options;
}

static void RequireKnown(const string &name) {
	for (auto known : {GROUP_OPTION, SHARD_KEY_OPTION, GROUPS_OPTION}) {
		if (StringUtil::CIEquals(name, known)) {
			return;
		}
	}
	throw BinderException("Tables of a replicated catalog have no option \"%s\". They have \"%s\", \"%s\" and \"%s\"", name,
	                      GROUP_OPTION, SHARD_KEY_OPTION, GROUPS_OPTION);
}

//! The value that is written for an option; null when the option is not given.
static optional_ptr<const Literal> GivenValue(const Options &options, const char *name) {
	auto found = options.find(name);
	if (found == options.end()) {
		return nullptr;
	}
	if (!found->second || found->second->GetExpressionClass() != ExpressionClass::CONSTANT) {
		throw BinderException("The value of \"%s\" must be written out, as in WITH (%s = 'name')", name, name);
	}
	return found->second->Cast<ConstantExpression>().GetLiteral();
}

static string GivenText(const Literal &value, const char *name, const char *what) {
	if (value.kind != LiteralKind::STRING || value.text.empty()) {
		throw BinderException("\"%s\" must be %s in quotes, not %s", name, what, value.ToString());
	}
	return value.text;
}

//! The name of a group as it is kept: empty for the default one.
static string GroupName(const string &name) {
	if (StringUtil::CIEquals(name, DEFAULT_GROUP)) {
		return string();
	}
	if (StringUtil::StartsWith(StringUtil::Lower(name), SHARD_PREFIX)) {
		throw BinderException("\"%s\" cannot name a group: names that begin with \"%s\" are those of the lanes that tables with a "
		                      "shard key share. Choose another name, or give the table a \"%s\"",
		                      name, SHARD_PREFIX, SHARD_KEY_OPTION);
	}
	auto permitted = name.size() <= GROUP_NAME_BYTES_MAX;
	for (auto c : name) {
		permitted = permitted && (StringUtil::CharacterIsAlphaNumeric(c) || c == '-' || c == '_' || c == '.');
	}
	if (!permitted) {
		throw BinderException("\"%s\" cannot name a group: use 1 to %llu of the characters a-z, A-Z, 0-9, '-', '_' and '.'", name,
		                      GROUP_NAME_BYTES_MAX);
	}
	return name;
}

static uint32_t GroupCount(const Literal &value) {
	int64_t count = 0;
	if (!value.TryGetInt64(count) || count < 1 || count > GROUPS_MAX) {
		throw BinderException("\"%s\" must be a whole number from 1 to %lld, not %s", GROUPS_OPTION, GROUPS_MAX,
		                      value.ToString());
	}
	return static_cast<uint32_t>(count);
}

//! The name of the column, as the table writes it.
static string ShardKey(const string &name, const ColumnList &columns) {
	Identifier column(name);
	if (!columns.ColumnExists(column)) {
		throw BinderException("The shard key \"%s\" is not a column of the table: \"%s\" must name one", name,
		                      SHARD_KEY_OPTION);
	}
	auto &definition = columns.GetColumn(column);
	if (definition.Generated()) {
		throw BinderException("The shard key \"%s\" is a generated column, which is not stored: \"%s\" must name one that is",
		                      name, SHARD_KEY_OPTION);
	}
	return definition.Name().GetIdentifierName();
}

Placement Placement::With(const Options &options, const ColumnList &columns) const {
	for (auto &option : options) {
		RequireKnown(option.first);
	}
	auto given_group = GivenValue(options, GROUP_OPTION);
	auto given_key = GivenValue(options, SHARD_KEY_OPTION);
	auto given_groups = GivenValue(options, GROUPS_OPTION);
	if (given_group && (given_key || given_groups)) {
		throw BinderException("A table is in one named group, or its rows are spread by a shard key: give \"%s\" alone, or \"%s\" "
		                      "and \"%s\"",
		                      GROUP_OPTION, SHARD_KEY_OPTION, GROUPS_OPTION);
	}
	Placement result;
	result.epoch = epoch;
	if (given_group) {
		result.group = GroupName(GivenText(*given_group, GROUP_OPTION, "the name of a group"));
		return result;
	}
	result.shard_key = shard_key;
	if (given_key) {
		result.shard_key = ShardKey(GivenText(*given_key, SHARD_KEY_OPTION, "the name of a column"), columns);
	}
	result.groups = groups == 0 ? GROUPS_DEFAULT : groups;
	if (given_groups) {
		result.groups = GroupCount(*given_groups);
	}
	if (result.shard_key.empty()) {
		if (given_groups) {
			throw BinderException("A number of groups needs a shard key, by which rows are spread over them: give \"%s\" too, as in "
			                      "(%s = 'column', %s = %s)",
			                      SHARD_KEY_OPTION, SHARD_KEY_OPTION, GROUPS_OPTION, given_groups->ToString());
		}
		return *this;
	}
	return result;
}

Placement Placement::Without(const identifier_set_t &options) const {
	for (auto &option : options) {
		RequireKnown(option.GetIdentifierName());
	}
	auto result = *this;
	if (options.count(Identifier(GROUP_OPTION))) {
		result.group.clear();
	}
	if (options.count(Identifier(GROUPS_OPTION)) && !result.shard_key.empty()) {
		result.groups = GROUPS_DEFAULT;
	}
	if (options.count(Identifier(SHARD_KEY_OPTION))) {
		result.shard_key.clear();
		result.groups = 0;
	}
	return result;
}

Placement Placement::OfCreate(const CreateTableInfo &info) {
	if (!info.options.empty()) {
		return Placement().With(info.options, info.columns);
	}
	return OfTags(info.tags);
}

bool IsPlacementChange(const AlterInfo &info) {
	if (info.type != AlterType::ALTER_TABLE) {
		return false;
	}
	auto type = info.Cast<AlterTableInfo>().alter_table_type;
	return type == AlterTableType::SET_TABLE_OPTIONS || type == AlterTableType::RESET_TABLE_OPTIONS;
}

Placement ChangedPlacement(const Placement &before, const AlterInfo &info, const ColumnList &columns) {
	auto &alter = info.Cast<AlterTableInfo>();
	auto after = alter.alter_table_type == AlterTableType::SET_TABLE_OPTIONS
	                 ? before.With(alter.Cast<SetTableOptionsInfo>().table_options, columns)
	                 : before.Without(alter.Cast<ResetTableOptionsInfo>().table_options);
	after.epoch = before.LeadsWhere(after) ? before.epoch : before.epoch + 1;
	return after;
}

void RequirePlacementPermitted(const QuackCatalog &catalog, const Placement &before, const Placement &after) {
	if (before.IsDefault() && after.IsDefault()) {
		return;
	}
	catalog.RequireGroups();
	// The way back is always open.
	if (!after.IsDefault() && !catalog.GroupsEnabled()) {
		throw BinderException("Groups of tables are switched off in this cluster. SELECT quack_multiraft_sql_set_enabled(true) "
		                      "switches them on, for all of its nodes");
	}
}

} // namespace quack
