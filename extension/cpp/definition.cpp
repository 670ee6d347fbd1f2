//! Definitions at their origin: closed, proved, and written.

#include "definition.hpp"

#include "closed_names.hpp"
#include "ddl.hpp"
#include "definition_format.hpp"
#include "rows.hpp"
#include "shared_extensions.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/view_catalog_entry.hpp"
#include "duckdb/catalog/dependency_manager.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/function/scalar_macro_function.hpp"
#include "duckdb/function/table_macro_function.hpp"
#include "duckdb/parser/constraints/check_constraint.hpp"
#include "duckdb/parser/constraints/foreign_key_constraint.hpp"
#include "duckdb/parser/expression/cast_expression.hpp"
#include "duckdb/parser/parsed_data/alter_table_info.hpp"
#include "duckdb/parser/parsed_data/comment_on_column_info.hpp"
#include "duckdb/parser/parsed_data/create_macro_info.hpp"
#include "duckdb/parser/parsed_data/create_schema_info.hpp"
#include "duckdb/parser/parsed_data/create_sequence_info.hpp"
#include "duckdb/parser/parsed_data/create_trigger_info.hpp"
#include "duckdb/parser/parsed_data/create_type_info.hpp"
#include "duckdb/parser/parsed_data/create_view_info.hpp"
#include "duckdb/parser/parsed_data/extra_drop_info.hpp"
#include "duckdb/parser/parsed_expression_iterator.hpp"
#include "duckdb/parser/tableref/basetableref.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/expression_binder.hpp"
#include "duckdb/planner/expression_iterator.hpp"

using namespace duckdb;

namespace quack {

using Reach = NameCloser::Reach;

constexpr const char *COLUMN_TYPE = "the collation of the column's type";

static QualifiedName NameIn(const QuackCatalog &catalog, const SchemaCatalogEntry &schema, const Identifier &name) {
	return schema.GetQualifiedName(name).WithCatalog(catalog.SharedName());
}

static void CloseEvaluated(const DefinitionScope &scope, ParsedExpression &expression, const string &clause) {
	RequireReplayable(scope.context, expression, clause);
	NameCloser(scope.context, scope.catalog, Reach::EVALUATED, clause).Close(expression);
}

//! An expression over a table's columns, bound as this connection binds it now.
static unique_ptr<Expression> BindOver(ClientContext &context, const ColumnList &columns, const Identifier &table,
                                       const ParsedExpression &expression) {
	vector<Identifier> names;
	vector<LogicalType> types;
	for (auto &column : columns.Logical()) {
		names.push_back(column.Name());
		types.push_back(column.Type());
	}
	auto binder = Binder::CreateBinder(context);
	vector<ColumnIndex> bound_columns;
	binder->bind_context.AddBaseTable(binder->GenerateTableIndex(), table, names, types, bound_columns, table);
	ExpressionBinder expressions(*binder, context);
	auto copy = expression.Copy();
	return expressions.Bind(copy);
}

//! DuckDB 2.0.0 hashes a VARIANT as a checkpoint has stored it, which is another one on each node.
static void RequireNoHashOfVariant(const Expression &expression, const string &clause) {
	if (expression.GetExpressionClass() == ExpressionClass::BOUND_FUNCTION &&
	    expression.Cast<BoundFunctionExpression>().Function().GetName() == "hash") {
		for (auto &argument : expression.Cast<BoundFunctionExpression>().GetChildren()) {
			if (TypeVisitor::Contains(argument->GetReturnType(), LogicalTypeId::VARIANT)) {
				throw NotImplementedException("%s uses the hash of a VARIANT, which depends on how a checkpoint has stored the "
				                              "value: hash its text, hash(v::VARCHAR)",
				                              clause);
			}
		}
	}
	ExpressionIterator::EnumerateChildren(expression,
	                                      [&](const Expression &child) { RequireNoHashOfVariant(child, clause); });
}

//! Refuses an expression that not every node would evaluate to the same.
static void RequireSameValue(const DefinitionScope &scope, const Expression &expression, const string &clause) {
	RequireEverywhere(scope.catalog, NeededBy(scope.context, expression), clause);
	RequireNoHashOfVariant(expression, clause);
}

//! Refuses an expression that the settings of the session give another meaning than it has on the nodes. `written` is as
//! the client wrote it, `closed` as it travels.
static void RequireSameMeaning(const DefinitionScope &scope, const ColumnList &columns, const Identifier &table,
                               const ParsedExpression &written, const ParsedExpression &closed, const string &clause) {
	auto meant = BindOver(scope.context, columns, table, written);
	ErrorData error;
	{
		ClosedScope closed_scope(scope.context);
		unique_ptr<Expression> evaluated;
		try {
			evaluated = BindOver(scope.context, columns, table, closed);
		} catch (std::exception &ex) {
			error = ErrorData(ex);
		}
		if (evaluated && meant->GetReturnType() == evaluated->GetReturnType() &&
		    meant->ToString() == evaluated->ToString()) {
			RequireSameValue(scope, *evaluated, clause);
			return;
		}
	}
	string settings;
	for (auto &setting : TravellingSettings(scope.context)) {
		settings += (settings.empty() ? "" : ", ") + setting.first;
	}
	throw BinderException("%s %s means something else under this connection's settings%s than under DuckDB's defaults, by which "
	                      "every node evaluates it: RESET them, or write it so that it does not depend on them%s",
	                      clause, written.ToString(), settings.empty() ? "" : " (" + settings + ")",
	                      error.HasError() ? ". Under the defaults: " + error.RawMessage() : "");
}

//! The types and functions that an entry depends on, as DuckDB has found them, under the name that all nodes share.
static void CloseDependencies(const DefinitionScope &scope, CreateInfo &info) {
	LogicalDependencyList closed;
	for (auto &dependency : info.dependencies.Set()) {
		auto copy = dependency;
		if (copy.catalog == scope.catalog.GetName()) {
			copy.catalog = scope.catalog.SharedName();
			closed.AddDependency(copy);
		}
	}
	info.dependencies = std::move(closed);
}

static void CloseDefault(const DefinitionScope &scope, const SchemaCatalogEntry &schema, ParsedExpression &expression) {
	NameCloser closer(scope.context, scope.catalog, Reach::EVALUATED, "DEFAULT");
	closer.SearchFirst(schema);
	closer.Close(expression);
}

static void CloseTable(const DefinitionScope &scope, const SchemaCatalogEntry &schema, CreateTableInfo &table) {
	auto written_info = table.Copy();
	auto &written = written_info->Cast<CreateTableInfo>();
	for (idx_t i = 0; i < table.columns.LogicalColumnCount(); i++) {
		auto &column = table.columns.GetColumnMutable(LogicalIndex(i));
		RequireEverywhere(scope.catalog, NeededBy(column.Type()), COLUMN_TYPE);
		if (column.Generated()) {
			auto &expression = column.GeneratedExpressionMutable();
			CloseEvaluated(scope, expression, "the generated column");
			RequireSameMeaning(scope, table.columns, table.GetTableName(),
			                   written.columns.GetColumn(LogicalIndex(i)).GeneratedExpression(), expression,
			                   "the generated column");
		} else if (column.HasDefaultValue()) {
			auto expression = column.DefaultValue().Copy();
			CloseDefault(scope, schema, *expression);
			column.SetDefaultValue(std::move(expression));
		}
	}
	for (idx_t i = 0; i < table.constraints.size(); i++) {
		auto &constraint = *table.constraints[i];
		if (constraint.type == ConstraintType::CHECK) {
			auto &expression = *constraint.Cast<CheckConstraint>().expression;
			CloseEvaluated(scope, expression, "CHECK");
			RequireSameMeaning(scope, table.columns, table.GetTableName(),
			                   *written.constraints[i]->Cast<CheckConstraint>().expression, expression, "CHECK");
		} else if (constraint.type == ConstraintType::FOREIGN_KEY) {
			// Which columns of the other table these are is found out again where the definition is applied.
			auto &info = constraint.Cast<ForeignKeyConstraint>().info;
			if (info.type == ForeignKeyType::FK_TYPE_FOREIGN_KEY_TABLE) {
				info.pk_keys.clear();
				info.fk_keys.clear();
			}
		}
	}
}

static void CloseMacro(const DefinitionScope &scope, CreateMacroInfo &info) {
	NameCloser closer(scope.context, scope.catalog, Reach::QUALIFIED, "the macro");
	for (auto &macro : info.macros) {
		if (macro->type == MacroType::SCALAR_MACRO) {
			closer.Close(*macro->Cast<ScalarMacroFunction>().expression);
		} else if (macro->type == MacroType::TABLE_MACRO) {
			closer.Close(*macro->Cast<TableMacroFunction>().query_node);
		}
	}
}

static void CloseCreate(const DefinitionScope &scope, const SchemaCatalogEntry &schema, CreateInfo &info) {
	switch (info.type) {
	case CatalogType::TABLE_ENTRY:
		CloseTable(scope, schema, info.Cast<CreateTableInfo>());
		break;
	case CatalogType::VIEW_ENTRY: {
		NameCloser closer(scope.context, scope.catalog, Reach::CHECKED, "the view");
		closer.SearchFirst(schema);
		closer.Close(*info.Cast<CreateViewInfo>().query->node);
		break;
	}
	case CatalogType::MACRO_ENTRY:
	case CatalogType::TABLE_MACRO_ENTRY:
		CloseMacro(scope, info.Cast<CreateMacroInfo>());
		break;
	case CatalogType::TYPE_ENTRY:
		RequireEverywhere(scope.catalog, NeededBy(info.Cast<CreateTypeInfo>().type), COLUMN_TYPE);
		break;
	case CatalogType::TRIGGER_ENTRY: {
		auto &trigger = info.Cast<CreateTriggerInfo>();
		NameCloser closer(scope.context, scope.catalog, Reach::QUALIFIED, "the trigger");
		closer.Know(trigger.referencing_new_table);
		closer.Know(trigger.referencing_old_table);
		closer.Close(*trigger.trigger_action);
		trigger.base_table->SetQualifiedName(NameIn(scope.catalog, schema, trigger.base_table->GetQualifiedName().Name()));
		break;
	}
	default:
		break;
	}
}

void RequireNoVariables(const DefinitionScope &scope, const CreateInfo &info) {
	auto schema = FindSchema(scope.catalog.GetCatalogTransaction(scope.context), scope.catalog, info.GetQualifiedName().Parent());
	if (schema) {
		CloseCreate(scope, *schema, *info.Copy());
	}
}

//! The text of a definition, for people: without the catalog's name, which is each node's own.
static string TextOf(const CreateInfo &info) {
	auto copy = info.Copy();
	copy->StripCatalogQualification();
	return copy->ToString();
}

//! What a statement has seen of something that it drops, and of all that goes with it; 0 where that is not compared.
static uint64_t SeenOf(const DefinitionScope &scope, optional_ptr<CatalogEntry> entry) {
	return scope.compares_seen && entry ? FingerprintOf(scope.context, scope.catalog, *entry) : 0;
}

static optional_ptr<CatalogEntry> EntryIn(const DefinitionScope &scope, const SchemaCatalogEntry &schema, CatalogType type,
                                          const Identifier &name) {
	auto transaction = scope.catalog.GetCatalogTransaction(scope.context);
	return const_cast<SchemaCatalogEntry &>(schema).GetEntry(transaction, type, name);
}

Definition DefineCreate(const DefinitionScope &scope, const SchemaCatalogEntry &schema, const CreateInfo &info) {
	RequireNotReserved(schema.name);
	if (info.temporary) {
		throw InternalException("a temporary entry cannot live in a replicated catalog");
	}
	DefinitionContent content;
	content.create = info.Copy();
	auto &create = *content.create;
	create.SetQualifiedName(NameIn(scope.catalog, schema, info.GetQualifiedName().Name()));
	CloseCreate(scope, schema, create);
	CloseDependencies(scope, create);
	Definition result;
	result.text = TextOf(create);
	create.sql = result.text;
	// A trigger is an entry of its table.
	if (create.on_conflict == OnCreateConflict::REPLACE_ON_CONFLICT && create.type != CatalogType::TRIGGER_ENTRY) {
		content.seen = SeenOf(scope, EntryIn(scope, schema, create.type, create.GetQualifiedName().Name()));
		content.rows_seen = scope.rows_seen;
	}
	result.bytes = Write(content);
	if (create.type == CatalogType::TABLE_ENTRY) {
		BindTable(scope.context, scope.catalog, result.bytes);
	}
	return result;
}

Definition DefineCreateSchema(const DefinitionScope &scope, const CreateSchemaInfo &info) {
	RequireNotReserved(info.SchemaName());
	DefinitionContent content;
	content.create = info.Copy();
	auto path = info.ParentSchemas();
	path.push_back(info.SchemaName());
	Definition result;
	string prefix = "CREATE SCHEMA ";
	if (info.on_conflict == OnCreateConflict::IGNORE_ON_CONFLICT) {
		prefix += "IF NOT EXISTS ";
	} else if (info.on_conflict == OnCreateConflict::REPLACE_ON_CONFLICT) {
		prefix = "CREATE OR REPLACE SCHEMA ";
	}
	result.text = prefix + QualifiedName::FromPath(path).ToString() + ";";
	content.create->SetQualifiedName(
	    QualifiedName::FromCatalogSchema(scope.catalog.SharedName(), std::move(path), Identifier()));
	content.create->dependencies = LogicalDependencyList();
	if (info.on_conflict == OnCreateConflict::REPLACE_ON_CONFLICT) {
		auto &name = content.create->GetQualifiedName();
		auto schema = FindSchema(scope.catalog.GetCatalogTransaction(scope.context), scope.catalog, name);
		content.seen = SeenOf(scope, schema.get());
	}
	result.bytes = Write(content);
	return result;
}

static bool HasLambda(const ParsedExpression &expression) {
	auto has_lambda = expression.GetExpressionClass() == ExpressionClass::LAMBDA;
	ParsedExpressionIterator::EnumerateChildren(
	    expression, [&](const ParsedExpression &child) { has_lambda = has_lambda || HasLambda(child); });
	return has_lambda;
}

Definition DefineCreateIndex(const DefinitionScope &scope, TableCatalogEntry &table, const CreateIndexInfo &info) {
	RequireNotReserved(table.ParentSchema().name);
	DefinitionContent content;
	content.create = info.Copy();
	auto &index = content.create->Cast<CreateIndexInfo>();
	index.SetQualifiedName(NameIn(scope.catalog, table.ParentSchema(), info.GetIndexName()));
	index.table = table.name;
	// What binding adds, it adds again where the definition is applied.
	index.column_ids.clear();
	index.scan_types.clear();
	index.names.clear();
	for (idx_t i = 0; i < index.parsed_expressions.size(); i++) {
		auto &expression = *index.parsed_expressions[i];
		if (HasLambda(expression)) {
			// They need a session, and an index has none: each commit of a row would break off.
			throw BinderException("Index keys cannot contain lambda functions");
		}
		CloseEvaluated(scope, expression, "CREATE INDEX over");
		RequireSameMeaning(scope, table.GetColumns(), table.name, *info.parsed_expressions[i], expression,
		                   "CREATE INDEX over");
	}
	index.dependencies = LogicalDependencyList();
	Definition result;
	result.text = TextOf(index);
	index.sql = result.text;
	result.bytes = Write(content);
	RehearseIndex(scope.context, scope.catalog, result.bytes);
	return result;
}

//! Refuses what converts rows that are there, on every node under this session's settings, when not every node would come
//! to the same. DuckDB says later what it thinks of an expression that cannot be bound.
static void RequireConverted(const DefinitionScope &scope, const ColumnList &columns, const ParsedExpression &expression,
                             const string &clause) {
	unique_ptr<Expression> bound;
	try {
		bound = BindOver(scope.context, columns, Identifier("t"), expression);
	} catch (std::exception &) {
		return;
	}
	RequireSameValue(scope, *bound, clause);
}

//! The expressions of an ALTER. Those that convert the rows that are there are evaluated by every node, under the settings
//! of this session; the others belong to the table from then on.
static void CloseAlter(const DefinitionScope &scope, const SchemaCatalogEntry &schema, AlterTableInfo &alter,
                       SettingValues &travelling) {
	auto table = EntryIn(scope, schema, CatalogType::TABLE_ENTRY, alter.GetQualifiedName().Name());
	// DuckDB binds the defaults of all columns with every change.
	travelling = TravellingSettings(scope.context);
	switch (alter.alter_table_type) {
	case AlterTableType::ADD_COLUMN: {
		auto &column = alter.Cast<AddColumnInfo>().new_column;
		RequireEverywhere(scope.catalog, NeededBy(column.Type()), COLUMN_TYPE);
		if (!column.Generated() && column.HasDefaultValue()) {
			RequireConverted(scope, ColumnList(), CastExpression(column.Type(), column.DefaultValue().Copy()),
			                 "ALTER TABLE ... ADD COLUMN ... DEFAULT");
			auto expression = column.DefaultValue().Copy();
			RequireReplayable(scope.context, *expression,
			                  "ALTER TABLE ... ADD COLUMN (first add the column, then ALTER COLUMN ... SET DEFAULT) with DEFAULT");
			CloseDefault(scope, schema, *expression);
			column.SetDefaultValue(std::move(expression));
		}
		break;
	}
	case AlterTableType::SET_DEFAULT: {
		auto &expression = alter.Cast<SetDefaultInfo>().expression;
		if (expression) {
			CloseDefault(scope, schema, *expression);
		}
		break;
	}
	case AlterTableType::ALTER_COLUMN_TYPE: {
		auto &change = alter.Cast<ChangeColumnTypeInfo>();
		RequireEverywhere(scope.catalog, NeededBy(change.target_type), COLUMN_TYPE);
		if (change.expression) {
			if (table && table->type == CatalogType::TABLE_ENTRY) {
				auto converted = change.target_type == LogicalType::UNKNOWN
				                     ? change.expression->Copy()
				                     : make_uniq<CastExpression>(change.target_type, change.expression->Copy());
				RequireConverted(scope, table->Cast<TableCatalogEntry>().GetColumns(), *converted, "ALTER COLUMN ... TYPE");
			}
			CloseEvaluated(scope, *change.expression, "ALTER COLUMN ... TYPE ... USING");
		}
		break;
	}
	case AlterTableType::ADD_CONSTRAINT: {
		auto &constraint = *alter.Cast<AddConstraintInfo>().constraint;
		if (constraint.type == ConstraintType::CHECK && table && table->type == CatalogType::TABLE_ENTRY) {
			auto &expression = *constraint.Cast<CheckConstraint>().expression;
			auto written = expression.Copy();
			CloseEvaluated(scope, expression, "CHECK");
			RequireSameMeaning(scope, table->Cast<TableCatalogEntry>().GetColumns(), table->name, *written, expression,
			                   "CHECK");
		}
		break;
	}
	default:
		break;
	}
}

//! DuckDB writes no text of some.
static string TextOf(const AlterInfo &info) {
	auto copy = info.Copy();
	auto name = copy->GetQualifiedName();
	name.StripCatalog();
	copy->SetQualifiedName(std::move(name));
	try {
		return copy->ToString();
	} catch (std::exception &) {
		return "ALTER " + copy->GetQualifiedName().ToString();
	}
}

//! A column of a view by the name that the view's query gives it.
static void CloseColumn(const DefinitionScope &scope, const SchemaCatalogEntry &schema, SetColumnCommentInfo &comment) {
	auto entry = EntryIn(scope, schema, CatalogType::VIEW_ENTRY, comment.GetQualifiedName().Name());
	if (!entry || entry->type != CatalogType::VIEW_ENTRY) {
		return;
	}
	auto &view = entry->Cast<ViewCatalogEntry>();
	view.BindView(scope.context, BindViewAction::FORCE_REBIND);
	comment.column_name = view.ResolveColumnName(comment.column_name);
}

Definition DefineAlter(const DefinitionScope &scope, const SchemaCatalogEntry &schema, const AlterInfo &info) {
	RequireNotReserved(schema.name);
	if (info.type == AlterType::CHANGE_OWNERSHIP) {
		throw NotImplementedException("OWNED BY is not supported in a replicated catalog: DuckDB keeps it in memory only, so that "
		                              "nodes would differ after a restart. DROP the sequence after the table");
	}
	DefinitionContent content;
	auto alter = info.Copy();
	alter->SetQualifiedName(NameIn(scope.catalog, schema, info.GetQualifiedName().Name()));
	if (alter->type == AlterType::ALTER_TABLE) {
		CloseAlter(scope, schema, alter->Cast<AlterTableInfo>(), content.settings);
	}
	if (alter->type == AlterType::SET_COLUMN_COMMENT) {
		CloseColumn(scope, schema, alter->Cast<SetColumnCommentInfo>());
	}
	Definition result;
	result.text = TextOf(*alter);
	content.other = std::move(alter);
	result.bytes = Write(content);
	return result;
}

static Definition WriteDrop(DefinitionContent content) {
	Definition result;
	auto text = content.other->Cast<DropInfo>().Copy();
	auto path = text->GetQualifiedName().Path();
	path.erase(path.begin());
	text->SetQualifiedName(QualifiedName::FromPath(std::move(path)));
	result.text = text->ToString();
	result.bytes = Write(content);
	return result;
}

Definition DefineDrop(const DefinitionScope &scope, const SchemaCatalogEntry &schema, const DropInfo &info) {
	RequireNotReserved(schema.name);
	DefinitionContent content;
	auto drop = info.Copy();
	auto &name = info.GetQualifiedName().Name();
	drop->SetQualifiedName(NameIn(scope.catalog, schema, name));
	if (drop->extra_drop_info) {
		auto &base_table = drop->extra_drop_info->Cast<ExtraDropTriggerInfo>().base_table->Cast<BaseTableRef>();
		base_table.SetQualifiedName(NameIn(scope.catalog, schema, base_table.GetQualifiedName().Name()));
	} else {
		content.seen = SeenOf(scope, EntryIn(scope, schema, info.type, name));
	}
	content.other = std::move(drop);
	return WriteDrop(std::move(content));
}

Definition DefineDropSchema(const DefinitionScope &scope, const DropInfo &info) {
	// The catalog, then the schemas from the outermost inwards.
	auto path = info.GetQualifiedName().Path();
	RequireNotReserved(path.back());
	path[0] = scope.catalog.SharedName();
	DefinitionContent content;
	auto drop = info.Copy();
	drop->SetQualifiedName(QualifiedName::FromPath(std::move(path)));
	auto schema = FindSchema(scope.catalog.GetCatalogTransaction(scope.context), scope.catalog, drop->GetQualifiedName());
	content.seen = SeenOf(scope, schema.get());
	content.other = std::move(drop);
	return WriteDrop(std::move(content));
}

} // namespace quack
