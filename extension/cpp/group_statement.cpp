//! Parses ALTER TABLE ... SET GROUPS and SET GROUP, which DuckDB's grammar does not have.
//!
//! Each statement stands for an ALTER TABLE ... SET or RESET, which the grammar has. DuckDB lets the statement of an
//! extension be only a call of a table function. So the parser makes such a call, and after binding the plan of the ALTER
//! TABLE replaces it: from there on both spellings run the same code.

#include "group_statement.hpp"

#include "catalog.hpp"
#include "placement.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/parser/expression/constant_expression.hpp"
#include "duckdb/parser/keyword_helper.hpp"
#include "duckdb/parser/parser_extension.hpp"
#include "duckdb/parser/statement/alter_statement.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/operator/logical_get.hpp"

using namespace duckdb;

namespace quack {

namespace {

constexpr const char *FUNCTION_NAME = "quack_alter_group";

struct GroupStatement : public ParserExtensionParseData {
	explicit GroupStatement(unique_ptr<AlterInfo> info) : info(std::move(info)) {
	}
	unique_ptr<ParserExtensionParseData> Copy() const override {
		return make_uniq<GroupStatement>(info->Copy());
	}
	string ToString() const override {
		return info->ToString();
	}

	unique_ptr<AlterInfo> info;
};

//! The statement on its way from the parser to the plan.
struct GroupFunctionInfo : public TableFunctionInfo {
	explicit GroupFunctionInfo(unique_ptr<AlterInfo> info) : info(std::move(info)) {
	}
	unique_ptr<AlterInfo> info;
};

//! Reads tokens, as long as they are what the statement needs.
class TokenReader {
public:
	explicit TokenReader(const vector<SimpleToken> &tokens) : tokens(tokens) {
	}

	bool Word(const char *word) {
		return Take(IsWord() && StringUtil::CIEquals(tokens[next].text, word));
	}
	bool Symbol(const char *symbol) {
		return Take(!AtEnd() && tokens[next].text == symbol);
	}
	bool Name(Identifier &result) {
		auto quoted = IsWord() && tokens[next].text.front() == '"';
		if (!IsWord() || (!quoted && IsReserved(tokens[next].text))) {
			return false;
		}
		result = Identifier(Unquoted(tokens[next].text, '"'));
		return Take(true);
	}
	bool Text(string &result) {
		if (AtEnd() || tokens[next].type != TokenType::STRING_LITERAL) {
			return false;
		}
		result = Unquoted(tokens[next].text, '\'');
		return Take(true);
	}
	bool Number(string &result) {
		if (AtEnd() || tokens[next].type != TokenType::NUMBER_LITERAL) {
			return false;
		}
		result = tokens[next].text;
		return Take(true);
	}
	bool AtEnd() const {
		return next == tokens.size() || tokens[next].type == TokenType::END_OF_INPUT ||
		       tokens[next].type == TokenType::END_OF_INPUT_AUTOCOMPLETE;
	}
	//! How many tokens were read.
	int64_t Count() const {
		return static_cast<int64_t>(next);
	}

private:
	bool IsWord() const {
		// Names have one of many types here: the parser has noted what it took them for.
		if (AtEnd() || tokens[next].text.empty()) {
			return false;
		}
		switch (tokens[next].type) {
		case TokenType::STRING_LITERAL:
		case TokenType::NUMBER_LITERAL:
		case TokenType::OPERATOR:
		case TokenType::COMMENT:
		case TokenType::TERMINATOR:
			return false;
		default:
			return true;
		}
	}
	static bool IsReserved(const string &word) {
		return KeywordHelper::KeywordCategoryType(word) == KeywordCategory::KEYWORD_RESERVED;
	}
	bool Take(bool fits) {
		next += fits ? 1 : 0;
		return fits;
	}
	static string Unquoted(const string &text, char quote) {
		if (text.size() < 2 || text.front() != quote || text.back() != quote) {
			return text;
		}
		string twice(2, quote);
		return StringUtil::Replace(text.substr(1, text.size() - 2), twice, string(1, quote));
	}

	const vector<SimpleToken> &tokens;
	idx_t next = 0;
};

bool ReadTableName(TokenReader &reader, QualifiedName &result) {
	vector<Identifier> path;
	do {
		Identifier name;
		if (!reader.Name(name)) {
			return false;
		}
		path.push_back(std::move(name));
	} while (reader.Symbol("."));
	result = QualifiedName::FromPath(std::move(path));
	return true;
}

//! What follows SET.
unique_ptr<AlterInfo> ReadChange(TokenReader &reader, const AlterEntryData &table) {
	Options options;
	string number;
	string name;
	if (reader.Word("GROUPS")) {
		if (!reader.Number(number)) {
			return nullptr;
		}
		options.emplace(GROUPS_OPTION, ConstantExpression::Number(number));
		return make_uniq<SetTableOptionsInfo>(table, std::move(options));
	}
	if (!reader.Word("GROUP")) {
		return nullptr;
	}
	if (reader.Word("DEFAULT")) {
		identifier_set_t all {Identifier(GROUP_OPTION), Identifier(SHARD_KEY_OPTION), Identifier(GROUPS_OPTION)};
		return make_uniq<ResetTableOptionsInfo>(table, std::move(all));
	}
	if (!reader.Text(name)) {
		return nullptr;
	}
	options.emplace(GROUP_OPTION, ConstantExpression::String(name));
	return make_uniq<SetTableOptionsInfo>(table, std::move(options));
}

//! Takes nothing that is not one of the statements from its first word to its last: everything else keeps DuckDB's error.
ParserExtensionParseResult Parse(ParserExtensionInfo *, const vector<SimpleToken> &tokens) {
	ParserExtensionParseResult result;
	TokenReader reader(tokens);
	if (!reader.Word("ALTER") || !reader.Word("TABLE")) {
		return result;
	}
	AlterEntryData table;
	table.if_not_found = OnEntryNotFound::THROW_EXCEPTION;
	if (reader.Word("IF")) {
		if (!reader.Word("EXISTS")) {
			return result;
		}
		table.if_not_found = OnEntryNotFound::RETURN_NULL;
	}
	if (!ReadTableName(reader, table.qualified_name) || !reader.Word("SET")) {
		return result;
	}
	auto info = ReadChange(reader, table);
	if (!info || (!reader.AtEnd() && !reader.Symbol(";"))) {
		return result;
	}
	result.type = ParserExtensionResultType::PARSE_SUCCESSFUL;
	result.parse_data = make_uniq<GroupStatement>(std::move(info));
	result.consumed_tokens = reader.Count();
	return result;
}

unique_ptr<FunctionData> BindNothing(ClientContext &, TableFunctionBindInput &, vector<LogicalType> &types,
                                     vector<Identifier> &names) {
	types.emplace_back(LogicalType::BOOLEAN);
	names.emplace_back("Success");
	return make_uniq<TableFunctionData>();
}

void RunNothing(ClientContext &, TableFunctionInput &, DataChunk &) {
	throw InternalException("the plan of ALTER TABLE ... SET GROUP was not put in place");
}

ParserExtensionPlanResult Plan(ParserExtensionInfo *, ClientContext &, unique_ptr<ParserExtensionParseData> data) {
	ParserExtensionPlanResult result;
	result.function = TableFunction(FUNCTION_NAME, {}, RunNothing, BindNothing);
	result.function.function_info = make_shared_ptr<GroupFunctionInfo>(data->Cast<GroupStatement>().info->Copy());
	return result;
}

void RequireReplicated(ClientContext &context, const AlterInfo &info) {
	CatalogEntryRetriever retriever(context);
	EntryLookupInfo lookup(CatalogType::TABLE_ENTRY, Binder::BindTableName(retriever, info.GetQualifiedName()));
	auto entry = Catalog::GetEntry(context, lookup, OnEntryNotFound::RETURN_NULL);
	if (entry && !QuackCatalog::Is(entry->ParentCatalog())) {
		throw BinderException("\"%s\" is no table of a replicated catalog: only those are placed in groups",
		                      info.GetQualifiedName().ToString());
	}
}

} // namespace

void LeadGroupStatement(PlannerExtensionInput &input, BoundStatement &statement) {
	if (statement.plan->type != LogicalOperatorType::LOGICAL_GET) {
		return;
	}
	auto &get = statement.plan->Cast<LogicalGet>();
	if (get.function.GetName() != FUNCTION_NAME || !get.function.function_info) {
		return;
	}
	AlterStatement alter;
	alter.info = get.function.function_info->Cast<GroupFunctionInfo>().info->Copy();
	RequireReplicated(input.context, *alter.info);
	auto binder = Binder::CreateBinder(input.context, &input.binder);
	statement = binder->Bind(static_cast<SQLStatement &>(alter));
}

void RegisterGroupStatements(DatabaseInstance &instance) {
	ParserExtension extension;
	extension.parse_function = Parse;
	extension.plan_function = Plan;
	ParserExtension::Register(DBConfig::GetConfig(instance), std::move(extension));
}

} // namespace quack
