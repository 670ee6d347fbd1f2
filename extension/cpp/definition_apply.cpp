//! Definitions at the applier, and what the origin tries of it before it proposes: the same code binds in both places.

#include "definition.hpp"

#include "closed_names.hpp"
#include "definition_format.hpp"
#include "error.hpp"
#include "rows.hpp"
#include "shared_extensions.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/catalog/catalog_entry_retriever.hpp"
#include "duckdb/execution/expression_executor.hpp"
#include "duckdb/execution/index/art/art.hpp"
#include "duckdb/parser/constraints/check_constraint.hpp"
#include "duckdb/parser/expression/cast_expression.hpp"
#include "duckdb/parser/expression/operator_expression.hpp"
#include "duckdb/parser/parsed_data/comment_on_column_info.hpp"
#include "duckdb/parser/parsed_data/create_function_info.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/create_sequence_info.hpp"
#include "duckdb/parser/parsed_data/create_trigger_info.hpp"
#include "duckdb/parser/parsed_data/create_type_info.hpp"
#include "duckdb/parser/parsed_data/create_view_info.hpp"
#include "duckdb/parser/parsed_data/extra_drop_info.hpp"
#include "duckdb/parser/statement/alter_statement.hpp"
#include "duckdb/parser/statement/create_statement.hpp"
#include "duckdb/parser/tableref/basetableref.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/bound_constraint.hpp"
#include "duckdb/planner/constraints/bound_check_constraint.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_binder/alter_binder.hpp"
#include "duckdb/planner/expression_binder/constant_binder.hpp"
#include "duckdb/planner/expression_binder/index_binder.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

#include <algorithm>

using namespace duckdb;

namespace quack {

static bool HasCheck(const vector<unique_ptr<Constraint>> &constraints) {
	for (auto &constraint : constraints) {
		if (constraint->type == ConstraintType::CHECK) {
			return true;
		}
	}
	return false;
}

//! Whether binding the table binds expressions. The scope of a connection whose statement is running is changed only then.
static bool HasExpressions(const CreateTableInfo &info) {
	for (auto &column : info.columns.Logical()) {
		if (column.Generated() || column.HasDefaultValue()) {
			return true;
		}
	}
	return HasCheck(info.constraints);
}

static unique_ptr<BoundCreateTableInfo> BindTable(ClientContext &context, QuackCatalog &catalog,
                                                  unique_ptr<CreateInfo> create) {
	auto path = create->GetQualifiedName().Path();
	auto schema = FindSchema(catalog.GetCatalogTransaction(context), catalog, create->GetQualifiedName().Parent());
	if (!schema) {
		throw CatalogException("Schema with name %s does not exist!", path[path.size() - 2]);
	}
	for (auto &column : create->Cast<CreateTableInfo>().columns.Logical()) {
		RequireHere(context, NeededBy(column.Type()), "the collation of a column");
	}
	auto dependencies = create->dependencies;
	unique_ptr<ClosedScope> closed;
	if (HasExpressions(create->Cast<CreateTableInfo>())) {
		closed = make_uniq<ClosedScope>(context);
	}
	auto bound = Binder::CreateBinder(context)->BindCreateTableInfo(std::move(create), *schema);
	// The types of columns are bound already, so that DuckDB does not see on which of the catalog they depend.
	for (auto &dependency : dependencies.Set()) {
		bound->Base().dependencies.AddDependency(dependency);
	}
	return bound;
}

unique_ptr<BoundCreateTableInfo> BindTable(ClientContext &context, QuackCatalog &catalog, const string &bytes) {
	return BindTable(context, catalog, std::move(Read(context, catalog, Bytes(bytes)).create));
}

vector<unique_ptr<BoundConstraint>> BindConstraints(ClientContext &context, TableCatalogEntry &table) {
	auto binder = Binder::CreateBinder(context);
	if (!HasCheck(table.GetConstraints())) {
		return binder->BindConstraints(table);
	}
	ClosedScope closed(context);
	binder->SetCatalogLookupCallback([&](CatalogEntry &entry) {
		if (entry.ParentCatalog().IsSystemCatalog()) {
			RequireNotOwn(entry, "CHECK");
		}
	});
	auto bound = binder->BindConstraints(table);
	for (auto &constraint : bound) {
		if (constraint->type == ConstraintType::CHECK) {
			RequireHere(context, NeededBy(context, *constraint->Cast<BoundCheckConstraint>().expression), "CHECK");
		}
	}
	return bound;
}

//! This process must be able to evaluate the keys of a table's indexes as the others do.
static void RequireKeysHere(ClientContext &context, DuckTableEntry &table) {
	vector<unique_ptr<Expression>> keys;
	ForEachIndex(context, table.GetStorage(), [&](const ART &index) {
		for (auto &expression : index.unbound_expressions) {
			keys.push_back(expression->Copy());
		}
		return true;
	});
	for (auto &key : keys) {
		RequireHere(context, NeededBy(context, *key), "an index");
	}
}

void BindIndexes(ClientContext &context, DuckTableEntry &table) {
	ClosedScope closed(context);
	table.GetStorage().BindIndexes(context);
	RequireKeysHere(context, table);
}

//! Evaluates expressions for the rows that are there, and throws the results away. References in them are to `columns`.
static void Evaluate(ClientContext &context, DuckTableEntry &table, const vector<unique_ptr<Expression>> &expressions,
                     vector<StorageIndex> columns) {
	if (columns.empty()) {
		// Whether there are rows counts also where none of their columns does.
		columns.emplace_back(0);
	}
	ExpressionExecutor executor(context);
	vector<LogicalType> types;
	for (auto &expression : expressions) {
		types.push_back(expression->GetReturnType());
		executor.AddExpression(*expression);
	}
	DataChunk results;
	results.Initialize(context, types);
	try {
		ScanRows(context, table, columns, [&](DataChunk &rows) {
			context.InterruptCheck();
			results.Reset();
			executor.Execute(rows, results);
		});
	} catch (InternalException &ex) {
		// It must not end this DuckDB.
		throw InvalidInputException("DuckDB fails an assertion where it evaluates an expression for the rows of table %s: %s",
		                            table.name, ErrorData(ex).RawMessage());
	}
}

static void EvaluateKeys(ClientContext &context, DuckTableEntry &table, const CreateIndexInfo &index) {
	auto binder = Binder::CreateBinder(context);
	vector<Identifier> names;
	vector<LogicalType> types;
	for (auto &column : table.GetColumns().Logical()) {
		names.push_back(column.Name());
		types.push_back(column.Type());
	}
	vector<ColumnIndex> bound;
	binder->bind_context.AddBaseTable(TableIndex(0), table.name, names, types, bound, table);
	IndexBinder index_binder(*binder, context);
	vector<unique_ptr<Expression>> expressions;
	vector<StorageIndex> columns;
	for (auto &parsed : index.parsed_expressions) {
		auto copy = parsed->Copy();
		auto expression = index_binder.Bind(copy);
		ExpressionIterator::VisitExpressionMutable<BoundColumnRefExpression>(
		    expression, [&](BoundColumnRefExpression &column, unique_ptr<Expression> &place) {
			    auto logical = LogicalIndex(bound[column.Binding().column_index].GetPrimaryIndex());
			    columns.emplace_back(table.GetColumns().LogicalToPhysical(logical).index);
			    place = make_uniq<BoundReferenceExpression>(column.GetReturnType(), columns.size() - 1);
		    });
		expressions.push_back(std::move(expression));
	}
	if (columns.empty()) {
		// DuckDB says so where the definition is applied.
		throw BinderException("CREATE INDEX does not refer to any columns in the base table!");
	}
	Evaluate(context, table, expressions, std::move(columns));
}

unique_ptr<ChangeColumnTypeInfo> ForLiveRows(ClientContext &context, DuckTableEntry &table, const ChangeColumnTypeInfo &change) {
	auto result = unique_ptr_cast<AlterInfo, ChangeColumnTypeInfo>(change.Copy());
	if (result->target_type != LogicalType::UNKNOWN) {
		result->expression = make_uniq<CastExpression>(result->target_type, std::move(result->expression));
	}
	auto binder = Binder::CreateBinder(context);
	vector<LogicalIndex> bound;
	AlterBinder alter_binder(*binder, context, table, bound, result->target_type);
	auto copy = result->expression->Copy();
	vector<unique_ptr<Expression>> expressions;
	expressions.push_back(alter_binder.Bind(copy));
	RequireHere(context, NeededBy(context, *expressions[0]), "a change of a column's type");
	vector<StorageIndex> columns;
	for (auto &column : bound) {
		columns.emplace_back(table.GetColumns().LogicalToPhysical(column).index);
	}
	Evaluate(context, table, expressions, std::move(columns));
	auto tried = make_uniq<OperatorExpression>(ExpressionType::OPERATOR_TRY);
	tried->GetChildrenMutable().push_back(std::move(result->expression));
	result->expression = std::move(tried);
	return result;
}

void RequireDefault(ClientContext &context, const ColumnDefinition &column) {
	if (column.Generated() || !column.HasDefaultValue()) {
		return;
	}
	auto binder = Binder::CreateBinder(context);
	ConstantBinder default_binder(*binder, context, "DEFAULT value");
	default_binder.target_type = column.Type();
	auto copy = column.DefaultValue().Copy();
	auto value = default_binder.Bind(copy);
	ExpressionExecutor::EvaluateScalar(context, *value, true);
}

void RehearseIndex(ClientContext &context, QuackCatalog &catalog, const string &bytes) {
	auto content = Read(context, catalog, Bytes(bytes));
	auto &index = content.create->Cast<CreateIndexInfo>();
	auto is_column = [](const unique_ptr<ParsedExpression> &expression) {
		return expression->GetExpressionClass() == ExpressionClass::COLUMN_REF;
	};
	if (std::all_of(index.parsed_expressions.begin(), index.parsed_expressions.end(), is_column)) {
		return;
	}
	auto name = index.GetQualifiedName();
	auto &table = Catalog::GetEntry<TableCatalogEntry>(context, name.WithName(index.table));
	ClosedScope closed(context, content.settings);
	EvaluateKeys(context, table.Cast<DuckTableEntry>(), index);
}

static void Announce(ClientContext &context, QuackCatalog &catalog, DatabaseModificationType modification) {
	// DuckDB takes the locks that it takes for such a statement.
	MetaTransaction::Get(context).ModifyDatabase(catalog.GetAttached(), modification);
}

//! Runs a statement whose change DuckDB makes with a plan: it reads the table's rows.
static void Run(Connection &connection, unique_ptr<SQLStatement> statement) {
	auto result = connection.Query(std::move(statement));
	result->ThrowIfError();
}

static void ApplyCreate(Connection &connection, QuackCatalog &catalog, unique_ptr<CreateInfo> create) {
	auto &context = *connection.context;
	if (create->type != CatalogType::INDEX_ENTRY) {
		Announce(context, catalog, DatabaseModificationType::CREATE_CATALOG_ENTRY);
	}
	switch (create->type) {
	case CatalogType::SCHEMA_ENTRY:
		catalog.CreateSchema(catalog.GetCatalogTransaction(context), create->Cast<CreateSchemaInfo>());
		break;
	case CatalogType::TABLE_ENTRY: {
		auto bound = BindTable(context, catalog, std::move(create));
		catalog.CreateTable(context, *bound);
		break;
	}
	case CatalogType::VIEW_ENTRY:
		// As it is: what it reads need not be there on this node, or now.
		catalog.CreateView(context, create->Cast<CreateViewInfo>());
		break;
	case CatalogType::SEQUENCE_ENTRY:
		catalog.CreateSequence(context, create->Cast<CreateSequenceInfo>());
		break;
	case CatalogType::TYPE_ENTRY:
		catalog.CreateType(context, create->Cast<CreateTypeInfo>());
		break;
	case CatalogType::MACRO_ENTRY:
	case CatalogType::TABLE_MACRO_ENTRY:
		catalog.CreateFunction(context, create->Cast<CreateFunctionInfo>());
		break;
	case CatalogType::TRIGGER_ENTRY: {
		auto &trigger = create->Cast<CreateTriggerInfo>();
		auto name = trigger.base_table->GetQualifiedName();
		auto &table = Catalog::GetEntry<TableCatalogEntry>(context, name);
		// What is kept has the name that all nodes share.
		trigger.base_table->SetQualifiedName(name.WithCatalog(catalog.SharedName()));
		table.CreateTrigger(catalog.GetCatalogTransaction(context), trigger);
		break;
	}
	case CatalogType::INDEX_ENTRY: {
		auto &index = create->Cast<CreateIndexInfo>();
		for (auto &expression : index.parsed_expressions) {
			index.expressions.push_back(expression->Copy());
		}
		auto statement = make_uniq<CreateStatement>();
		statement->info = std::move(create);
		Run(connection, std::move(statement));
		break;
	}
	default:
		throw SerializationException("an entry of the log creates what this release does not know");
	}
}

static void ApplyAlter(Connection &connection, QuackCatalog &catalog, unique_ptr<AlterInfo> alter) {
	if (alter->IsAddUniqueConstraint()) {
		auto statement = make_uniq<AlterStatement>();
		statement->info = std::move(alter);
		Run(connection, std::move(statement));
		return;
	}
	auto &context = *connection.context;
	Announce(context, catalog, DatabaseModificationType::ALTER_TABLE);
	if (alter->type == AlterType::SET_COLUMN_COMMENT) {
		// Whether it is a column of a table or of a view is not written.
		CatalogEntryRetriever retriever(context);
		if (!alter->Cast<SetColumnCommentInfo>().TryResolveCatalogEntry(retriever)) {
			return;
		}
	}
	catalog.Alter(context, *alter);
}

static void ApplyDrop(ClientContext &context, QuackCatalog &catalog, DropInfo &drop) {
	Announce(context, catalog, DatabaseModificationType::DROP_CATALOG_ENTRY);
	if (drop.type != CatalogType::TRIGGER_ENTRY) {
		catalog.DropEntry(context, drop);
		return;
	}
	auto &base_table = drop.extra_drop_info->Cast<ExtraDropTriggerInfo>().base_table->Cast<BaseTableRef>();
	auto &table = Catalog::GetEntry<TableCatalogEntry>(context, base_table.GetQualifiedName());
	auto &name = drop.GetQualifiedName().Name();
	if (!table.DropTrigger(catalog.GetCatalogTransaction(context), name, drop.cascade) &&
	    drop.if_not_found == OnEntryNotFound::THROW_EXCEPTION) {
		throw CatalogException("Trigger with name %s does not exist on table %s", name, table.name);
	}
}

//! What a definition drops or replaces; null when it is not there.
static optional_ptr<CatalogEntry> Target(CatalogTransaction transaction, QuackCatalog &catalog,
                                         const DefinitionContent &content) {
	auto type = content.create ? content.create->type : content.other->Cast<DropInfo>().type;
	auto &name = content.create ? content.create->GetQualifiedName() : content.other->Cast<DropInfo>().GetQualifiedName();
	if (type == CatalogType::SCHEMA_ENTRY) {
		return FindSchema(transaction, catalog, name).get();
	}
	auto schema = FindSchema(transaction, catalog, name.Parent());
	return schema ? schema->GetEntry(transaction, type, name.Name()) : nullptr;
}

static void RequireUnchanged(ClientContext &context, QuackCatalog &catalog, const DefinitionContent &content) {
	if (content.seen == 0) {
		return;
	}
	auto entry = Target(catalog.GetCatalogTransaction(context), catalog, content);
	auto &name = content.create ? content.create->GetQualifiedName() : content.other->Cast<DropInfo>().GetQualifiedName();
	if (entry && content.rows_seen != 0 &&
	    (entry->type != CatalogType::TABLE_ENTRY || RowsSeen(context, entry->Cast<DuckTableEntry>()) != content.rows_seen)) {
		throw TransactionException("Conflict: rows of %s have changed since the statement that replaces it read them",
		                           name.ToString());
	}
	if (!entry || FingerprintOf(context, catalog, *entry) != content.seen) {
		throw TransactionException("Conflict: another transaction has changed what depends on %s, or %s itself, since this "
		                           "transaction started",
		                           name.ToString(), name.ToString());
	}
}

void Apply(Connection &connection, QuackCatalog &catalog, QuackBytes definition) {
	auto &context = *connection.context;
	auto content = Read(context, catalog, definition);
	RequireUnchanged(context, catalog, content);
	ClosedScope closed(context, content.settings);
	if (content.create) {
		ApplyCreate(connection, catalog, std::move(content.create));
	} else if (content.other->info_type == ParseInfoType::ALTER_INFO) {
		ApplyAlter(connection, catalog, unique_ptr_cast<ParseInfo, AlterInfo>(std::move(content.other)));
	} else {
		ApplyDrop(context, catalog, content.other->Cast<DropInfo>());
	}
}

} // namespace quack
