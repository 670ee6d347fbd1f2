//! Runs on every statement that DuckDB has bound. It checks what network sessions may do, rewrites plans (ATTACH, groups,
//! triggers, hidden rows), and keeps the values of parameters for statements that run again.

#include "after_binding.hpp"

#include "attach.hpp"
#include "catalog.hpp"
#include "closed_names.hpp"
#include "ddl.hpp"
#include "group_statement.hpp"
#include "hidden_rows.hpp"
#include "join_faults.hpp"
#include "network_session.hpp"
#include "placement.hpp"
#include "statement.hpp"
#include "whole_statement.hpp"
#include "duckdb/catalog/catalog_entry/table_catalog_entry.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/database_manager.hpp"
#include "duckdb/parser/parsed_data/create_trigger_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/parser/parsed_data/extra_drop_info.hpp"
#include "duckdb/parser/tableref/basetableref.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/bound_parameter_map.hpp"
#include "duckdb/planner/bound_statement.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_reference_expression.hpp"
#include "duckdb/planner/expression_iterator.hpp"
#include "duckdb/planner/logical_operator.hpp"
#include "duckdb/planner/operator/logical_copy_database.hpp"
#include "duckdb/planner/operator/logical_create.hpp"
#include "duckdb/planner/operator/logical_drop.hpp"
#include "duckdb/planner/operator/logical_projection.hpp"
#include "duckdb/planner/planner_extension.hpp"

using namespace duckdb;

namespace quack {

static bool WritesRows(const LogicalOperator &op) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_INSERT:
	case LogicalOperatorType::LOGICAL_UPDATE:
	case LogicalOperatorType::LOGICAL_DELETE:
	case LogicalOperatorType::LOGICAL_MERGE_INTO:
	case LogicalOperatorType::LOGICAL_CREATE_TABLE:
		return true;
	default:
		return false;
	}
}

static bool HasWrite(const LogicalOperator &op) {
	if (WritesRows(op)) {
		return true;
	}
	for (auto &child : op.children) {
		if (child && HasWrite(*child)) {
			return true;
		}
	}
	return false;
}

//! Whether an expression of RETURNING may be computed once more, to see whether it can be.
static bool CanCheck(const Expression &expression) {
	return !expression.IsVolatile() && !expression.HasSubquery();
}

//! What a RETURNING clause computes, over the columns that the write below it emits.
static vector<unique_ptr<Expression>> ReturningOf(const LogicalOperator &projection) {
	vector<unique_ptr<Expression>> result;
	for (auto &expression : projection.expressions) {
		auto copy = expression->Copy();
		ExpressionIterator::EnumerateExpression(copy, [](unique_ptr<Expression> &part) {
			if (part->GetExpressionClass() == ExpressionClass::BOUND_COLUMN_REF) {
				auto &column = part->Cast<BoundColumnRefExpression>();
				auto index = column.Binding().column_index;
				part = make_uniq<BoundReferenceExpression>(column.GetName(), column.GetReturnType(), index);
			}
		});
		result.push_back(std::move(copy));
	}
	return result;
}

//! Whether something runs after a write that can fail, or see what was written: the outcome must wait for it.
static bool GoesOnAfterWrite(StatementState &state, const LogicalOperator &op) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_PREPARE:
	case LogicalOperatorType::LOGICAL_EXECUTE:
	case LogicalOperatorType::LOGICAL_EXPLAIN:
		return !op.children.empty() && op.children[0] && GoesOnAfterWrite(state, *op.children[0]);
	case LogicalOperatorType::LOGICAL_PROJECTION: {
		auto is_returning = WritesRows(*op.children[0]);
		for (auto &expression : op.expressions) {
			is_returning = is_returning && CanCheck(*expression);
		}
		if (!is_returning) {
			return HasWrite(op);
		}
		// It cannot fail any more once it has been tried before the write is proposed.
		state.returning = ReturningOf(op);
		return GoesOnAfterWrite(state, *op.children[0]);
	}
	default:
		break;
	}
	if (!WritesRows(op)) {
		return HasWrite(op);
	}
	for (auto &child : op.children) {
		if (child && HasWrite(*child)) {
			return true;
		}
	}
	return false;
}

static void KeepParameters(StatementState &state, Binder &binder) {
	auto parameters = binder.GetParameters();
	if (parameters && !parameters->GetParameterData().empty()) {
		state.parameters = parameters->GetParameterData();
	}
}

static void LookForVariables(ClientContext &context, const LogicalOperator &op) {
	if (op.type != LogicalOperatorType::LOGICAL_CREATE_VIEW && op.type != LogicalOperatorType::LOGICAL_CREATE_MACRO) {
		return;
	}
	auto &info = *op.Cast<LogicalCreate>().info;
	auto &catalog = Catalog::GetCatalog(context, info.GetQualifiedName().Catalog());
	if (QuackCatalog::Is(catalog)) {
		RequireNoVariables(ScopeOf(context, catalog), info);
	}
}

//! A trigger belongs to its table's entry, not to a schema that could lead the change to the log.
static void LeadTriggers(ClientContext &context, BoundStatement &statement) {
	auto &op = *statement.plan;
	if (op.type == LogicalOperatorType::LOGICAL_CREATE_TRIGGER) {
		auto &info = op.Cast<LogicalCreate>().info->Cast<CreateTriggerInfo>();
		auto &catalog = Catalog::GetCatalog(context, info.GetQualifiedName().Catalog());
		if (!QuackCatalog::Is(catalog)) {
			return;
		}
		auto table = info.GetQualifiedName().WithName(info.base_table->GetQualifiedName().Name());
		auto &schema = Catalog::GetEntry<TableCatalogEntry>(context, table).ParentSchema();
		shared_ptr<CreateInfo> native(info.Copy().release());
		statement.plan = make_uniq<LogicalProposeDdl>(
		    reinterpret_cast<QuackCatalog &>(catalog), DefineCreate(ScopeOf(context, catalog), schema, info),
		    [table, native](ClientContext &client) {
			    auto &entry = Catalog::GetEntry<TableCatalogEntry>(client, table);
			    entry.CreateTrigger(entry.ParentCatalog().GetCatalogTransaction(client), native->Cast<CreateTriggerInfo>());
		    });
	} else if (op.type == LogicalOperatorType::LOGICAL_DROP && op.Cast<LogicalDrop>().info->type == CatalogType::TRIGGER_ENTRY) {
		auto &info = *op.Cast<LogicalDrop>().info;
		auto table = info.extra_drop_info->Cast<ExtraDropTriggerInfo>().base_table->Cast<BaseTableRef>().GetQualifiedName();
		auto &table_entry = Catalog::GetEntry<TableCatalogEntry>(context, table);
		auto &catalog = table_entry.ParentCatalog();
		if (!QuackCatalog::Is(catalog)) {
			return;
		}
		auto definition = DefineDrop(ScopeOf(context, catalog), table_entry.ParentSchema(), info);
		auto name = info.GetQualifiedName().Name();
		auto cascade = info.cascade;
		auto if_exists = info.if_not_found == OnEntryNotFound::RETURN_NULL;
		statement.plan = make_uniq<LogicalProposeDdl>(
		    reinterpret_cast<QuackCatalog &>(catalog), std::move(definition), [=](ClientContext &client) {
			    auto &entry = Catalog::GetEntry<TableCatalogEntry>(client, table);
			    auto transaction = entry.ParentCatalog().GetCatalogTransaction(client);
			    if (!entry.DropTrigger(transaction, name, cascade) && !if_exists) {
				    throw CatalogException("Trigger with name %s does not exist on table %s", name, entry.name);
			    }
		    });
	}
}

//! COPY FROM DATABASE copies definitions. Names in them are to lead into the new catalog. It writes tables with their
//! options, which a catalog of another kind does not take; it keeps the placement as tags all the same: so a copy in a file
//! of its own can be copied back.
static void LeadToCopy(ClientContext &context, LogicalOperator &op) {
	if (op.type != LogicalOperatorType::LOGICAL_COPY_DATABASE) {
		return;
	}
	auto &info = *op.Cast<LogicalCopyDatabase>().info;
	for (auto &database : DatabaseManager::Get(context).GetDatabases(context)) {
		auto &catalog = database->GetCatalog();
		if (QuackCatalog::Is(catalog)) {
			for (auto &entry : info.entries) {
				OpenNames(*entry, reinterpret_cast<QuackCatalog &>(catalog).SharedName());
			}
		}
	}
	if (QuackCatalog::Is(Catalog::GetCatalog(context, info.target_database))) {
		return;
	}
	for (auto &entry : info.entries) {
		if (entry->type == CatalogType::TABLE_ENTRY && !Placement::OfTags(entry->tags).IsDefault()) {
			entry->Cast<CreateTableInfo>().options.clear();
		}
	}
}

static bool CopiesIntoReplicated(ClientContext &context, LogicalOperator &op) {
	return op.type == LogicalOperatorType::LOGICAL_COPY_DATABASE &&
	       QuackCatalog::Is(Catalog::GetCatalog(context, op.Cast<LogicalCopyDatabase>().info->target_database));
}

static void AfterBinding(PlannerExtensionInput &input, BoundStatement &statement) {
	auto &context = input.context;
	if (!statement.plan) {
		return;
	}
	RequireOwnMatter(context, input.binder, statement);
	LeadAttach(context, statement);
	LeadGroupStatement(input, statement);
	LeadToCopy(context, *statement.plan);
	auto state = context.registered_state->Get<StatementState>(StatementState::KEY);
	if (!state || ApplierMark::IsSet(context)) {
		return;
	}
	state->reads_replacement = state->meets_replacement;
	state->meets_replacement = false;
	if (statement.plan->type == LogicalOperatorType::LOGICAL_TRANSACTION) {
		state->SetEnding(context, true);
	}
	if (CopiesIntoReplicated(context, *statement.plan)) {
		// It makes one definition after the other.
		state->collects = true;
	}
	RequireJoinFaultsAvoided(context, *statement.plan);
	KeepParameters(*state, input.binder);
	state->returning.clear();
	state->goes_on_after_write = GoesOnAfterWrite(*state, *statement.plan);
	HideRows(context, statement, state->goes_on_after_write);
	LookForVariables(context, *statement.plan);
	LeadTriggers(context, statement);
	if (state->goes_on_after_write && !state->reads_replacement) {
		LeadWholeStatement(statement);
	}
}

void RegisterAfterBinding(DatabaseInstance &instance) {
	PlannerExtension extension;
	extension.post_bind_function = AfterBinding;
	PlannerExtension::Register(DBConfig::GetConfig(instance), std::move(extension));
}

} // namespace quack
